'use strict';
'require ui';
'require gramscale.server as server';

return server.page({
	name: 'keys',

	look() {
		return Promise.all([ server.authKeys(), server.users(), server.status() ])
			.then(([ keys, users, status ]) => ({ keys, users, status }));
	},

	head() {
		return [
			E('h2', {}, [ _('Auth keys') ]),
			E('p', {}, [ _('With a key a machine joins without anybody letting it in.') ])
		];
	},

	show({ keys }) {
		return E('div', { 'class': 'cbi-section' }, [
			server.table(
				[ _('Key'), _('User or tags'), _('Kind'), _('State'), _('Expires'), _('Made'), '' ],
				keys.slice().reverse().map(key => ({ id: key.id, row: this.row(key) })),
				_('There are no keys.')),
			E('p', {}, [ server.button(_('New key'), 'add', () => this.create(), { 'data-action': 'create' }) ])
		]);
	},

	row(key) {
		const { now } = this.data.status;
		const over = server.isPast(key.expiration, now);
		const spent = key.used && !key.reusable;

		return [
			E('code', {}, [ key.key ]),
			server.lines(key.aclTags.length ? key.aclTags : [ key.user?.name ?? '' ]),
			server.lines([
				key.reusable ? _('for any number of machines') : _('for one machine'),
				key.ephemeral ? _('forgotten when offline') : [],
				key.preapproved ? _('approved beforehand') : []
			].flat()),
			over ? _('has expired') : spent ? _('used') : key.used ? _('in use') : _('not used yet'),
			server.when(key.expiration),
			server.when(key.createdAt),
			[
				over || spent ? '' : server.button(_('Expire'), 'edit', () => this.expire(key), { 'data-action': 'expire' }), ' ',
				server.button(_('Delete'), 'remove', () => this.remove(key), { 'data-action': 'delete' })
			]
		];
	},

	create() {
		const { users } = this.data;
		const user = server.select('user', users.map(one => [ one.id, server.userName(one) ])
			.concat([ [ '', _('nobody, only tags') ] ]));
		const flag = name => E('input', { 'type': 'checkbox', name });
		const [ reusable, ephemeral, preapproved ] =
			[ 'reusable', 'ephemeral', 'preapproved' ].map(flag);
		const days = server.select('expiration', [
			[ '0.0417', _('in an hour') ], [ '1', _('in a day') ], [ '7', _('in 7 days') ],
			[ '90', _('in 90 days') ]
		]);
		const tags = server.input('tags', '');

		server.dialog(_('New key'), [
			server.field(_('User'), user, _('Whom the machines belong to.')),
			server.field(_('Any number of machines'), reusable),
			server.field(_('Forget when offline'), ephemeral, _('The machine disappears soon after it goes offline.')),
			server.field(_('Approved beforehand'), preapproved, _('Where new machines wait for approval, those with this key do not.')),
			server.field(_('Tags'), tags, _('Such as tag:server; with tags, machines belong to nobody.')),
			server.field(_('Expires'), days)
		], _('Make key'), 'positive', () => server.authKeyCreate(user.value, reusable.checked,
			ephemeral.checked, preapproved.checked, new Date(Date.now() + days.value * 864e5).toISOString(),
			server.words(tags.value))
			.then(({ preAuthKey }) => this.refresh().then(() => this.reveal(preAuthKey.key))));
	},

	/* The dialog closes itself behind what made it, so this one comes after. */
	reveal(key) {
		const { serverUrl } = this.data.status;

		window.setTimeout(() => ui.showModal(_('The new key'), [
			E('p', {}, [ _('It is shown only now; the server keeps no copy that could be shown again.') ]),
			E('pre', { 'data-name': 'key', 'style': 'white-space:pre-wrap;overflow-wrap:anywhere' }, [ key ]),
			E('p', {}, [ _('On a computer:') ]),
			E('pre', { 'style': 'white-space:pre-wrap;overflow-wrap:anywhere' }, [
				`tailscale up --login-server ${serverUrl} --auth-key ${key}` ]),
			E('div', { 'class': 'right' }, [
				E('button', { 'class': 'btn', 'data-name': 'close', 'click': ui.hideModal }, [ _('Close') ])
			])
		]), 0);
	},

	expire(key) {
		server.ask(_('Expire a key'),
			_('Nobody can join with it from now on. Machines that joined with it stay.'),
			_('Expire'), () => this.after(server.authKeyExpire(key.id)));
	},

	remove(key) {
		server.ask(_('Delete a key'),
			_('It disappears from the list, and nobody can join with it. Machines that joined with it stay.'),
			_('Delete'), () => this.after(server.authKeyDelete(key.id)));
	}
});
