'use strict';
'require rpc';
'require uci';
'require ui';
'require dom';
'require gramscale.server as server';
'require gramscale.qr as qr';

const serviceList = rpc.declare({
	object: 'service', method: 'list', params: [ 'name' ], expect: { gramscale: {} }
});

/* The firewall rules that the service asks for, by instance. */
const serviceData = rpc.declare({
	object: 'service', method: 'get_data', params: [ 'name', 'type' ], expect: { gramscale: {} }
});

const serviceInit = rpc.declare({
	object: 'rc', method: 'init', params: [ 'name', 'action' ], reject: true
});

return server.page({
	name: 'overview',
	every: 10,

	look() {
		return Promise.all([
			server.status().catch(error => ({ error })),
			serviceList('gramscale'),
			serviceData('gramscale', 'firewall'),
			uci.load('gramscale')
		]);
	},

	head() {
		return E('h2', {}, [ _('Gramscale') ]);
	},

	show([ status, service, rules ]) {
		const url = status.serverUrl;

		/* The code is drawn again only when it says something else. */
		if (this.shown !== url) {
			this.shown = url;
			this.join = url ? this.renderJoin(url) : '';
		}

		return [ this.renderFirst(status), this.renderState(status, service, rules), this.join ];
	},

	/* What comes before the first machine joins, for it keeps the address that it joins with. */
	renderFirst({ error, nodes, waiting }) {
		const reach = server.setting('router', 'reach') ?? 'lan';

		return error || nodes || waiting || reach != 'lan' ? '' : E('div', { 'class': 'alert-message notice' }, [
			E('p', {}, [ _('Clients reach this server from the LAN only. If that is not enough, choose another way before the first machine joins: machines keep the address that they joined with.') ]),
			E('p', {}, [ E('a', {
				'class': 'btn cbi-button cbi-button-action', 'href': L.url('admin/services/gramscale/reach'), 'data-action': 'choose'
			}, [ _('Choose how clients reach it') ]) ])
		]);
	},

	renderState(status, service, rules) {
		const running = Object.values(service.instances ?? {}).some(one => one.running);
		const rows = [ [ _('State'), [
			E('strong', { 'data-name': 'state' }, [
				status.error ? (running ? _('starting') : _('not running')) : _('running')
			]), ' ',
			running || !status.error
				? [ this.control('restart', _('Restart')), ' ', this.control('stop', _('Stop')) ]
				: this.control('start', _('Start'))
		].flat() ] ];

		if (status.error) {
			rows.push([ _('Reason'), status.error.message ]);
		}
		else {
			rows.push(
				[ _('Version'), `${status.version} (${status.commit})` ],
				[ _('Login address'), status.serverUrl ],
				[ _('Listens on'), server.lines(status.listen.concat(
					status.stun ? _('%s for STUN (UDP)').format(status.stun) : [])) ],
				[ _('Clients'), [
					_('%d of %d online').format(status.online, status.nodes),
					status.waiting ? E('div', {}, [ E('a', {
						'href': L.url('admin/services/gramscale/machines')
					}, [ _('%d waiting to be let in').format(status.waiting) ]) ]) : ''
				] ],
				[ _('Runs for'), server.duration(status.uptime) ],
				[ _('Memory'), server.bytes(status.memory) ],
				[ _('Database'), server.bytes(status.databaseSize) ],
				[ _('Written to flash today'), server.bytes(status.writtenToday) ]);

			if (!status.clockTrusted)
				rows.push([ _('Clock'),
					_('not synchronised yet; nothing expires until it is') ]);
			if (status.commitsFailed)
				rows.push([ _('Failed writes'), _('%d; is the flash full?').format(status.commitsFailed) ]);
		}

		rows.push([ _('Open in the firewall'), this.renderRules(rules) ]);

		return E('div', { 'class': 'cbi-section' }, [ server.facts(rows) ]);
	},

	/* What the service opens for other zones, in the words of its firewall rules. */
	renderRules(data) {
		const rules = Object.values(data).flatMap(instance => instance.firewall ?? []);

		if (!rules.length)
			return E('em', {}, [ _('nothing: the server is reached from the LAN only') ]);

		/* Redirections of several addresses read the same. */
		return server.lines(Array.from(new Set(rules.map(rule => rule.type == 'redirect'
			? _('%s: port %s (%s), led to port %s').format(
				rule.src ?? '*', rule.src_dport ?? '*', rule.proto ?? '*', rule.dest_port ?? rule.src_dport)
			: _('%s: port %s (%s)').format(
				rule.src ?? '*', rule.dest_port ?? '*', rule.proto ?? '*')))));
	},

	control(action, label) {
		const run = () => serviceInit('gramscale', action).then(() => this.refresh());

		return server.button(label, action == 'stop' ? 'negative' : 'action', ui.createHandlerFn(this, () => {
			if (action == 'stop')
				return server.ask(_('Stop the server'),
					_('Machines keep the connections they have, but none can join, and no change reaches them until the server runs again. It starts again when the router does.'),
					_('Stop'), run);
			return run().catch(error => server.complain(error));
		}), { 'data-action': action });
	},

	renderJoin(url) {
		const page = url + '/join';
		const address = url.replace(/^https?:\/\//, '');
		const verdict = E('div', { 'id': 'gramscale-reach' });
		const check = ui.createHandlerFn(this, () => server.reach().then(
			answer => dom.content(verdict, server.verdict(answer)),
			error => server.complain(error)));
		const local = /^(127\.|localhost|\[::1\])/.test(address);

		return E('div', { 'class': 'cbi-section', 'id': 'gramscale-join' }, [
			E('h3', {}, [ _('Join a machine') ]),
			local ? E('p', { 'class': 'alert-message warning' }, [
				_('This address leads no other machine here: set the login address in the settings.')
			]) : '',
			E('p', {}, [ _('On a computer:') ]),
			E('pre', {}, [ `tailscale up --login-server ${url}` ]),
			E('p', {}, [
				_('On a phone, scan this: it opens a page with the address to copy and the steps for each system.')
			]),
			E('p', {}, [ E('a', { 'href': page, 'target': '_blank', 'rel': 'noreferrer' }, [
				qr.image(page, page) ?? page
			]) ]),
			E('p', {}, [ E('code', {}, [ page ]) ]),
			E('p', {}, [ server.button(_('Check the address'), 'action', check,
				{ 'data-action': 'reach', 'disabled': null }) ]),
			verdict,
			url.startsWith('http:') ? E('p', {}, [
				_('This address is plain http: a machine trusts the key of the server that it finds there at its first visit. Join at home, where you know the network.')
			]) : ''
		]);
	}
});
