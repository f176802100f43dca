'use strict';
'require baseclass';
'require dom';
'require poll';
'require rpc';
'require uci';
'require ui';
'require view';

/* What all pages share: the calls of the server, how a page shows what it answers, questions before
 * something is destroyed, and how times, sizes and tables look. */

/* Entries of a listing that are asked for at once: an answer holds 256 KiB, and a machine with
 * long names, many routes and its key takes some 2 KB. */
const PAGE = 100;

/* uhttpd takes no larger request; a little is left for what surrounds the text. */
const POLICY_MAX = 60000;

function declare(method, ...params) {
	const call = rpc.declare({
		object: 'luci.gramscale', method, params, expect: { '': {} }, reject: true
	});

	return (...args) => call(...args).then(reply => {
		if (reply.error) {
			const error = new Error(reply.error.text);
			error.status = reply.error.status;
			throw error;
		}
		return reply;
	});
}

/* All entries of a listing, which comes in parts. */
function whole(call, key) {
	const more = list => call(list.length ? list[list.length - 1].id : undefined, String(PAGE))
		.then(reply => {
			list = list.concat(reply[key]);
			return reply[key].length < PAGE ? list : more(list);
		});

	return () => more([]);
}

return baseclass.extend({
	status: declare('status'),
	nodes: whole(declare('nodes', 'after', 'limit'), 'nodes'),
	logins: declare('logins'),
	users: whole(declare('users', 'after', 'limit'), 'users'),
	authKeys: whole(declare('auth_keys', 'after', 'limit'), 'preAuthKeys'),
	policy: declare('policy'),
	policyCheck: declare('policy_check', 'policy'),
	policyExplain: declare('policy_explain', 'src', 'dst'),
	reach: declare('reach'),

	nodeRegister: declare('node_register', 'authId', 'user'),
	nodeReject: declare('node_reject', 'authId'),
	nodeApprove: declare('node_approve', 'id'),
	nodeRename: declare('node_rename', 'id', 'name'),
	nodeExpire: declare('node_expire', 'id', 'expiry', 'disableExpiry'),
	nodeTags: declare('node_tags', 'id', 'tags'),
	nodeRoutes: declare('node_routes', 'id', 'routes'),
	nodeDelete: declare('node_delete', 'id'),
	userCreate: declare('user_create', 'name', 'displayName', 'email'),
	userRename: declare('user_rename', 'id', 'name'),
	userRole: declare('user_role', 'id', 'role', 'transfer'),
	userDelete: declare('user_delete', 'id'),
	authKeyCreate: declare('auth_key_create',
		'user', 'reusable', 'ephemeral', 'preapproved', 'expiration', 'aclTags'),
	authKeyExpire: declare('auth_key_expire', 'id'),
	authKeyDelete: declare('auth_key_delete', 'id'),
	policySet: declare('policy_set', 'policy'),

	POLICY_MAX,

	/* What an option is set to, once the settings are loaded: the last section that has it counts. */
	setting(type, option) {
		return uci.sections('gramscale', type).map(section => section[option]).filter(value => value).pop();
	},

	/* A page of what the server says: what it `look`s for, it `show`s below its `head`, in the element
	 * `name`; again after each change, and as many seconds later as `every` says. */
	page(members) {
		const server = this;

		return view.extend(Object.assign({
			handleSaveApply: null,
			handleSave: null,
			handleReset: null,

			load() {
				return this.look().catch(error => ({ error }));
			},

			render(data) {
				this.list = E('div', { 'id': `gramscale-${this.name}` });
				const head = this.head();
				this.draw(data);
				if (this.every)
					poll.add(() => this.refresh(), this.every);

				return E([].concat(head, this.list));
			},

			draw(data) {
				this.data = data;
				dom.content(this.list, data.error ? server.away(data.error) : this.show(data));
			},

			refresh() {
				return this.load().then(data => this.draw(data));
			},

			/* Does something and shows what came of it. */
			after(promise) {
				return promise.then(() => this.refresh());
			}
		}, members));
	},

	/* Whether this login may change anything. */
	mayWrite() {
		return L.hasViewPermission() !== false;
	},

	/* What came of dialling the login address. */
	verdict({ good, problems, untried }) {
		return [
			good ? E('p', { 'class': 'alert-message success' }, [ _('By this address clients reach the server.') ])
				: E('div', { 'class': 'alert-message danger' }, this.lines(problems)),
			untried.length ? E('div', { 'class': 'alert-message notice' }, this.lines(untried)) : ''
		];
	},

	/* A notification of what went wrong. */
	complain(error) {
		ui.addNotification(null, E('p', {}, [ error.message ]), 'danger');
	},

	/* What a page shows when the server does not answer. */
	away(error) {
		return E('div', { 'class': 'alert-message warning' }, [
			E('p', {}, [ error.message ]),
			error.status === 0 ? E('p', {}, [ E('a', {
				'href': L.url('admin/services/gramscale/overview')
			}, [ _('The overview starts the server.') ]) ]) : ''
		]);
	},

	button(label, style, handler, attributes) {
		return E('button', Object.assign({
			'class': 'btn cbi-button cbi-button-' + style,
			'disabled': this.mayWrite() ? null : '',
			'click': ev => { ev.preventDefault(); return handler(ev); }
		}, attributes), [ label ]);
	},

	/* A dialog. `act` runs at its button and returns a promise; while that fails, the dialog stays
	 * and says why. */
	dialog(title, content, label, style, act) {
		const wrong = E('p', { 'class': 'alert-message danger', 'style': 'display:none' });
		const go = this.button(label, style, () => {
			go.disabled = true;
			return Promise.resolve().then(act).then(ui.hideModal, error => {
				wrong.textContent = error.message;
				wrong.style.display = '';
				go.disabled = false;
			});
		}, { 'data-name': 'go' });

		ui.showModal(title, [].concat(content, wrong, E('div', { 'class': 'right' }, [
			E('button', { 'class': 'btn', 'click': ui.hideModal }, [ _('Cancel') ]), ' ', go
		])));
	},

	/* Asks before something is changed that can't be taken back. */
	ask(title, consequence, label, act) {
		this.dialog(title, E('p', {}, [ consequence ]), label, 'negative', act);
	},

	/* A field of a dialog. */
	field(label, input, help) {
		return E('div', { 'class': 'cbi-value' }, [
			E('label', { 'class': 'cbi-value-title' }, [ label ]),
			E('div', { 'class': 'cbi-value-field' }, [
				input, help ? E('div', { 'class': 'cbi-value-description' }, [ help ]) : ''
			])
		]);
	},

	input(name, value) {
		return E('input', { 'class': 'cbi-input-text', 'type': 'text', name, value });
	},

	select(name, choices) {
		return E('select', { 'class': 'cbi-input-select', name }, choices.map(([value, text]) =>
			E('option', { value }, [ text ])));
	},

	/* A field that asks for one of the users. */
	userSelect(users) {
		return this.select('user', users.map(user => [ user.id, this.userName(user) ]));
	},

	/* A user's name, and what else tells it from others. */
	userName(user) {
		return user.displayName ? `${user.name} (${user.displayName})` : user.name;
	},

	/* Words of a text, with spaces or commas between them. */
	words(text) {
		return text.split(/[\s,]+/).filter(word => word != '');
	},

	table(titles, rows, empty) {
		const cells = (name, list) => list.map(cell =>
			E(name, { 'class': name }, Array.isArray(cell) ? cell : [ cell ?? '' ]));

		if (!rows.length)
			return E('p', {}, [ E('em', {}, [ empty ]) ]);

		return E('table', { 'class': 'table' }, [
			E('tr', { 'class': 'tr table-titles' }, cells('th', titles)),
			...rows.map(({ id, row }) =>
				E('tr', { 'class': 'tr', 'data-id': id ?? null }, row.map((cell, i) =>
					E('td', { 'class': 'td', 'data-title': titles[i] },
						Array.isArray(cell) ? cell : [ cell ?? '' ]))))
		]);
	},

	/* What there is to say under which title. */
	facts(rows) {
		return E('table', { 'class': 'table' }, rows.map(([ title, value ]) => E('tr', { 'class': 'tr' }, [
			E('td', { 'class': 'td left', 'width': '33%' }, [ title ]),
			E('td', { 'class': 'td left' }, Array.isArray(value) ? value : [ value ])
		])));
	},

	/* Texts one below the other. */
	lines(texts) {
		return texts.map(text => E('div', {}, [ text ]));
	},

	bytes(number) {
		const units = [ 'B', 'KB', 'MB', 'GB' ];
		let unit = 0;

		for (; number >= 1000 && unit < units.length - 1; unit++)
			number /= 1000;

		return `${unit && number < 100 ? number.toFixed(1) : Math.round(number)} ${units[unit]}`;
	},

	/* Seconds as the one or two units that matter. */
	duration(seconds) {
		const days = Math.floor(seconds / 86400), hours = Math.floor(seconds / 3600) % 24;
		const minutes = Math.floor(seconds / 60) % 60;

		if (days)
			return _('%d d %d h').format(days, hours);
		if (hours)
			return _('%d h %d min').format(hours, minutes);
		return minutes ? _('%d min').format(minutes) : _('%d s').format(Math.floor(seconds));
	},

	/* A time of the server as this browser's clock and zone have it; null and Go's zero time are
	 * never. */
	time(text) {
		const at = text ? new Date(text) : null;
		return !at || isNaN(at) || at.getFullYear() < 1970 ? null : at;
	},

	when(text) {
		return this.time(text)?.toLocaleString() ?? _('never');
	},

	/* Whether a time has passed, by the server's clock if that is known. */
	isPast(text, now) {
		const at = this.time(text);
		return at != null && at <= (this.time(now) ?? new Date());
	}
});
