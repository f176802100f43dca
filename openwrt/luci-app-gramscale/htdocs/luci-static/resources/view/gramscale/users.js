'use strict';
'require view';
'require dom';
'require gramscale.server as server';

return view.extend({
	handleSaveApply: null,
	handleSave: null,
	handleReset: null,

	load() {
		return this.look();
	},

	look() {
		return Promise.all([ server.users(), server.nodes() ])
			.then(([ users, nodes ]) => ({ users, nodes }), error => ({ error }));
	},

	render(data) {
		this.list = E('div', { 'id': 'gramscale-users' });
		this.show(data);

		return E([ E('h2', {}, [ _('Users') ]), this.list ]);
	},

	refresh() {
		return this.look().then(data => this.show(data));
	},

	show({ users, nodes, error }) {
		if (error)
			return dom.content(this.list, server.away(error));

		const machines = user => nodes.filter(node => node.user.id == user.id).length;
		dom.content(this.list, E('div', { 'class': 'cbi-section' }, [
			server.table([ _('Name'), _('Full name'), _('Email'), _('Machines'), _('Made'), '' ],
				users.map(user => ({ id: user.id, row: [
					user.name, user.displayName, user.email, String(machines(user)),
					server.when(user.createdAt), [
						server.button(_('Rename'), 'edit', () => this.rename(user), { 'data-action': 'rename' }), ' ',
						server.button(_('Delete'), 'remove', () => this.remove(user), { 'data-action': 'delete' })
					]
				] })), _('There are no users. Each machine belongs to one.')),
			E('p', {}, [ server.button(_('New user'), 'add', () => this.create(), { 'data-action': 'create' }) ])
		]));
	},

	create() {
		const [ name, full, email ] = [ 'name', 'displayName', 'email' ].map(key => server.input(key, ''));

		server.dialog(_('New user'), [
			server.field(_('Name'), name, _('Letters, digits and . _ - @, beginning with a letter.')),
			server.field(_('Full name'), full, _('May be empty.')),
			server.field(_('Email'), email, _('May be empty.'))
		], _('Make user'), 'positive', () => server.userCreate(name.value.trim(), full.value.trim(),
			email.value.trim()).then(() => this.refresh()));
	},

	rename(user) {
		const name = server.input('name', user.name);

		server.dialog(_('Rename a user'), [
			E('p', {}, [ _('An access policy that names the user by the old name no longer means this user.') ]),
			server.field(_('Name'), name)
		], _('Rename'), 'positive', () => server.userRename(user.id, name.value.trim())
			.then(() => this.refresh()));
	},

	remove(user) {
		server.ask(_('Delete a user'),
			_('“%s” and the auth keys of this user disappear. A user who still has machines is not deleted.').format(user.name),
			_('Delete'), () => server.userDelete(user.id).then(() => this.refresh()));
	}
});
