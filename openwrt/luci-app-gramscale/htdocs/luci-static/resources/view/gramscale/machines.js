'use strict';
'require dom';
'require gramscale.server as server';

/* Rows that are shown at once; more would make a browser slow. */
const SHOWN = 100;

return server.page({
	name: 'machines',
	every: 15,

	look() {
		return Promise.all([ server.nodes(), server.logins(), server.users() ])
			.then(([ nodes, { logins }, users ]) => ({ nodes, logins, users }));
	},

	head() {
		this.waiting = E('div', { 'id': 'gramscale-waiting' });
		this.first = 0;
		this.search = E('input', {
			'type': 'search', 'class': 'cbi-input-text', 'name': 'search',
			'placeholder': _('Name, user, address, tag'),
			'input': () => { this.first = 0; this.draw(this.data); }
		});

		return [ E('h2', {}, [ _('Machines') ]), this.waiting, E('p', {}, [ this.search ]) ];
	},

	show(data) {
		const { nodes } = data;

		dom.content(this.waiting, this.renderWaiting(data));

		const wanted = this.search.value.toLowerCase();
		const found = nodes.filter(node => [ node.givenName, node.name, node.user.name,
			...node.ipAddresses, ...node.tags ].some(text => text.toLowerCase().includes(wanted)));
		if (this.first >= found.length)
			this.first = 0;
		const shown = found.slice(this.first, this.first + SHOWN);

		return E('div', { 'class': 'cbi-section' }, [
			server.table(
				[ _('Name'), _('User or tags'), _('Addresses'), _('Online'), _('Expires'), _('Client'), '' ],
				shown.map(node => ({ id: node.id, row: this.row(node) })),
				nodes.length ? _('No machine fits.') : _('No machine has joined yet.')),
			found.length > SHOWN ? this.pager(found.length) : ''
		]);
	},

	pager(count) {
		const turn = by => ({
			'class': 'btn', 'disabled': null, 'data-name': by < 0 ? 'back' : 'forward',
			'click': () => {
				this.first = Math.max(0, Math.min(this.first + by, count - 1));
				this.draw(this.data);
			}
		});

		return E('p', {}, [
			E('button', turn(-SHOWN), [ '‹' ]), ' ',
			_('%d to %d of %d').format(this.first + 1, Math.min(this.first + SHOWN, count), count),
			' ', E('button', turn(SHOWN), [ '›' ])
		]);
	},

	row(node) {
		const expired = server.isPast(node.expiry);
		const act = (label, style, name, handler) =>
			[ server.button(label, style, handler, { 'data-action': name }), ' ' ];

		return [
			server.lines([ node.givenName ].concat(
				node.name != node.givenName ? _('calls itself %s').format(node.name) : [])),
			server.lines(node.tags.length ? node.tags : [ node.user.name ]),
			server.lines(node.ipAddresses),
			node.approved === false ? E('strong', {}, [ _('waits for approval') ])
				: node.online ? _('online') : server.when(node.lastSeen),
			expired ? E('strong', {}, [ _('has expired') ]) : server.when(node.expiry),
			server.lines([ node.os, node.clientVersion ]),
			[
				node.approved === false ? act(_('Approve'), 'add', 'approve',
					() => this.after(server.nodeApprove(node.id))) : [],
				act(_('Rename'), 'edit', 'rename', () => this.rename(node)),
				act(_('Tags'), 'edit', 'tags', () => this.tags(node)),
				node.availableRoutes.length ? act(_('Routes'), 'edit', 'routes',
					() => { location.href = L.url('admin/services/gramscale/routes'); }) : [],
				act(_('Expiry'), 'edit', 'expiry', () => this.expiry(node)),
				act(_('Delete'), 'remove', 'delete', () => this.remove(node))
			].flat()
		];
	},

	renderWaiting({ logins, users }) {
		if (!logins.length)
			return '';

		return E('div', { 'class': 'cbi-section' }, [
			E('h3', {}, [ _('Waiting to be let in') ]),
			server.table([ _('Name'), _('System'), _('Client'), '' ], logins.map(login => ({
				id: login.authId,
				row: [ login.hostname, login.os, login.clientVersion, [
					server.button(_('Let in'), 'add', () => this.letIn(login, users),
						{ 'data-action': 'let-in' }), ' ',
					server.button(_('Turn away'), 'remove', () => this.turnAway(login),
						{ 'data-action': 'turn-away' })
				] ]
			})), '')
		]);
	},

	letIn(login, users) {
		if (!users.length)
			return server.complain(new Error(_('Make a user first: each machine belongs to one.')));

		const user = server.userSelect(users);
		server.dialog(_('Let a machine in'), [
			E('p', {}, [ _('“%s” joins as a machine of this user.').format(login.hostname) ]),
			login.requestTags.length ? E('p', {}, [
				_('It asks for these tags, which the user must be allowed to give: %s')
					.format(login.requestTags.join(', '))
			]) : '',
			server.field(_('User'), user)
		], _('Let in'), 'positive',
		() => this.after(server.nodeRegister(login.authId, user.value)));
	},

	turnAway(login) {
		server.ask(_('Turn a machine away'),
			_('“%s” is told that it may not join. It can ask again.').format(login.hostname),
			_('Turn away'), () => this.after(server.nodeReject(login.authId)));
	},

	rename(node) {
		const name = server.input('name', node.givenName);
		server.dialog(_('Rename a machine'), [
			E('p', {}, [ _('Other machines reach it under the new name at once, and no longer under the old one.') ]),
			server.field(_('Name'), name, _('Letters, digits and hyphens.'))
		], _('Rename'), 'positive', () => this.after(server.nodeRename(node.id, name.value.trim())));
	},

	tags(node) {
		const tags = server.input('tags', node.tags.join(' '));
		server.dialog(_('Tags of a machine'), [
			E('p', {}, [ node.tags.length
				? _('The access policy says what these tags allow. The last tag cannot be taken away.')
				: _('With tags, the machine no longer belongs to %s: the access policy says what its tags allow. This cannot be taken back; to belong to a user again, it must be deleted and join again.').format(node.user.name) ]),
			server.field(_('Tags'), tags, _('Such as tag:server; several with spaces between them.'))
		], _('Set tags'), 'positive', () => this.after(server.nodeTags(node.id, server.words(tags.value))));
	},

	expiry(node) {
		const choice = server.select('expiry', [
			[ '0', _('now') ], [ '7', _('in 7 days') ], [ '90', _('in 90 days') ],
			[ '180', _('in 180 days') ], [ 'never', _('never') ]
		]);
		server.dialog(_('Expiry of a machine'), [
			E('p', {}, [
				_('When it expires, “%s” loses its connection to all others until somebody logs in on it again.').format(node.givenName)
			]),
			server.field(_('Expires'), choice)
		], _('Set expiry'), 'negative', () => {
			const days = Number(choice.value);
			return this.after(choice.value == 'never' ? server.nodeExpire(node.id, undefined, true)
				: days ? server.nodeExpire(node.id, new Date(Date.now() + days * 864e5).toISOString())
					: server.nodeExpire(node.id));
		});
	},

	remove(node) {
		server.ask(_('Delete a machine'),
			_('“%s” loses its connection to all others at once, and its name and addresses become free. To come back it must join again.').format(node.givenName),
			_('Delete'), () => this.after(server.nodeDelete(node.id)));
	}
});
