'use strict';
'require gramscale.server as server';

const ROLES = {
	'owner': _('Owner'),
	'admin': _('Admin'),
	'network-admin': _('Network admin'),
	'it-admin': _('IT admin'),
	'billing-admin': _('Billing admin'),
	'auditor': _('Auditor'),
	'member': _('Member')
};

return server.page({
	name: 'users',

	look() {
		return Promise.all([ server.users(), server.nodes() ])
			.then(([ users, nodes ]) => ({ users, nodes }));
	},

	head() {
		return E('h2', {}, [ _('Users') ]);
	},

	show({ users, nodes }) {
		const machines = user => nodes.filter(node => node.user.id == user.id).length;

		return E('div', { 'class': 'cbi-section' }, [
			server.table([ _('Name'), _('Full name'), _('Email'), _('Role'), _('Machines'), _('Made'), '' ],
				users.map(user => ({ id: user.id, row: [
					user.name, user.displayName, user.email, ROLES[user.role], String(machines(user)),
					server.when(user.createdAt), [
						server.button(_('Rename'), 'edit', () => this.rename(user), { 'data-action': 'rename' }), ' ',
						server.button(_('Role'), 'edit', () => this.role(user, users), { 'data-action': 'role' }), ' ',
						server.button(_('Delete'), 'remove', () => this.remove(user), { 'data-action': 'delete' })
					]
				] })), _('There are no users. Each machine belongs to one.')),
			E('p', {}, [ server.button(_('New user'), 'add', () => this.create(), { 'data-action': 'create' }) ])
		]);
	},

	create() {
		const [ name, full, email ] = [ 'name', 'displayName', 'email' ].map(key => server.input(key, ''));

		server.dialog(_('New user'), [
			server.field(_('Name'), name, _('Letters, digits and . _ - @, beginning with a letter.')),
			server.field(_('Full name'), full, _('May be empty.')),
			server.field(_('Email'), email, _('May be empty.'))
		], _('Make user'), 'positive', () => this.after(server.userCreate(name.value.trim(),
			full.value.trim(), email.value.trim())));
	},

	rename(user) {
		const name = server.input('name', user.name);

		server.dialog(_('Rename a user'), [
			E('p', {}, [ _('An access policy that names the user by the old name no longer means this user.') ]),
			server.field(_('Name'), name)
		], _('Rename'), 'positive', () => this.after(server.userRename(user.id, name.value.trim())));
	},

	role(user, users) {
		const role = server.select('role', Object.entries(ROLES));
		const owner = users.find(other => other.role == 'owner' && other.id != user.id);

		role.value = user.role;
		server.dialog(_('Role of a user'), [
			E('p', {}, [ _('An access policy knows who has a role as autogroup:owner, autogroup:network-admin and so on.') ]),
			owner ? E('p', {}, [ _('“%s” becomes an admin if this user becomes the owner.').format(owner.name) ]) : '',
			server.field(_('Role'), role)
		], _('Save'), 'positive', () => this.after(server.userRole(user.id, role.value, true)));
	},

	remove(user) {
		server.ask(_('Delete a user'),
			_('“%s” and the auth keys of this user disappear. A user who still has machines is not deleted.').format(user.name),
			_('Delete'), () => this.after(server.userDelete(user.id)));
	}
});
