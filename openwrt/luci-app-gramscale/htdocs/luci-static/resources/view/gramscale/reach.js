'use strict';
'require dom';
'require uci';
'require gramscale.options as options';
'require gramscale.server as server';

/* How often it is looked whether the new address answers, and how long between: the server begins
 * anew, and the firewall and dnsmasq read their settings again. */
const TRIES = 10, PAUSE = 3000;

/* The ways in which clients reach the server: title, what they are and need, and what is asked. */
const WAYS = () => ({
	lan: [ _('from the LAN only'),
		_('Nothing is needed, and nothing is open to the outside. Away from home, machines keep the connections they have, but hear of no change.'),
		[ 'address', 'port' ] ],
	https: [ _('from everywhere, with a certificate'),
		_('The way to choose where it can be had. It needs a name of your own that leads to this router from everywhere, and a certificate for that name, such as the package acme gets.'),
		[ 'name', 'port', 'acme', 'zones' ] ],
	http: [ _('from everywhere, without a certificate'),
		_('It needs a name of your own that leads to this router from everywhere, and a second address for this router in the LAN: there, port 443 becomes the server\'s, for LuCI has that of the first.'),
		[ 'name', 'port', 'alias', 'zones' ] ]
});

/* What is asked: title and help. */
const QUESTIONS = () => ({
	address: [ _('Address of this router in the LAN') ],
	name: [ _('Name'), _('Such as vpn.example.org; that of a dynamic DNS service will do.') ],
	port: [ _('Port') ],
	acme: [ _('Certificate of the package acme'), _('By its first domain. Empty: the files that the settings name.') ],
	alias: [ _('Second address in the LAN'), _('A free one, outside of what DHCP gives out.') ],
	zones: [ _('Open for zones'), _('Firewall zones from which the server may be reached, such as wan; lan is open anyway.') ]
});

const sections = type => uci.sections('gramscale', type);
const get = server.setting;

function put(type, option, value) {
	const last = sections(type).pop()?.['.name'] ?? uci.add('gramscale', type, type);

	sections(type).forEach(({ '.name': name }) =>
		uci.set('gramscale', name, option, name == last ? value : null));
}

/* What the settings say now, as answers. */
function answers() {
	const [ , host, port ] = /^https?:\/\/([^:\/]*)(?::(\d+))?/.exec(get('server', 'server_url') ?? '') ?? [];
	const number = options.wrong('ipv4', host ?? '') == null;
	const here = options.wrong('ipv4', location.hostname) == null ? location.hostname : '';

	return {
		address: number ? host : here,
		name: number ? '' : host ?? '',
		port: port ?? '8080',
		acme: get('tls', 'acme') ?? '',
		alias: get('router', 'alias') ?? '',
		zones: [].concat(get('router', 'open_zone') ?? 'wan').join(' ')
	};
}

/* What is wrong with the answers, as [title, what is wrong]. */
function mistakes(way, given) {
	const asked = WAYS()[way][2];
	const base = get('dns', 'base_domain') ?? 'tail.internal';
	const name = given.name.toLowerCase();
	const rules = {
		address: () => options.wrong('ipv4', given.address),
		name: () => options.wrong('domain', name) ??
			(!name.includes('.') || options.wrong('ipv4', name) == null ? _('It is a whole name, with a dot, and no address.')
				: `.${name}`.endsWith(`.${base}`) ? _('It must not lie in %s, which is for names of machines.').format(base) : null),
		port: () => options.wrong('port', given.port) ??
			([ 80, 443 ].includes(Number(given.port)) ? _('This is the port of LuCI.') : null),
		acme: () => given.acme == '' ? (get('tls', 'cert') ? null : _('Without a certificate the server does not start.'))
			: options.wrong('domain', given.acme),
		alias: () => options.wrong('ipv4', given.alias) ??
			(!/^(10|172\.(1[6-9]|2\d|3[01])|192\.168)\./.test(given.alias) || given.alias == location.hostname
				? _('It is an address of the LAN that nobody has yet.') : null),
		zones: () => server.words(given.zones).map(zone => options.wrong('name', zone)).find(wrong => wrong)
	};

	return asked.map(key => [ QUESTIONS()[key][0], rules[key]() ]).filter(([ , wrong ]) => wrong);
}

/* What the settings have to say: {type: {option: value}}; null is nothing. */
function plan(way, { address, name, port, acme, alias, zones }) {
	const away = way != 'lan', secure = way == 'https', files = secure && acme == '';
	const stun = get('derp', 'stun_listen') ?? '[::]:3478';
	const host = away ? name.toLowerCase() : address;
	const open = server.words(zones);

	return {
		server: { server_url: `${secure ? 'https' : 'http'}://${host}:${port}`, listen: [ `${away ? '[::]' : host}:${port}` ] },
		router: { reach: way, open_zone: away && open.length ? open : null, alias: way == 'http' ? alias : null },
		tls: {
			acme: secure && acme != '' ? acme : null,
			cert: files ? get('tls', 'cert') : null, key: files ? get('tls', 'key') : null
		},
		derp: { stun_listen: stun == 'none' ? stun : stun.replace(/^.*:/, away ? '[::]:' : `${host}:`) }
	};
}

/* The options of a plan that are not so already. */
function changes(plan) {
	return Object.entries(plan).flatMap(([ type, values ]) => Object.entries(values)
		.filter(([ option, value ]) => String(value ?? '') != String(get(type, option) ?? ''))
		.map(([ option, value ]) => [ type, option, value ]));
}

/* A plan in words. */
function told({ server: { server_url, listen }, router: { reach, open_zone, alias }, tls, derp: { stun_listen } }, nodes) {
	const host = new URL(server_url).hostname;
	const port = text => text.replace(/^.*:/, '');
	const old = get('server', 'server_url');
	const relays = stun_listen != 'none' && get('derp', 'enabled') != '0';

	return [
		[ _('Login address'), server_url ],
		[ _('Listens on'), server.lines(listen.concat(relays ? _('%s for STUN (UDP)').format(stun_listen) : [])) ],
		[ _('Firewall'), !open_zone ? _('nothing is open outside the LAN') : server.lines(
			[ _('port %s (TCP) is open for %s').format(port(listen[0]), open_zone.join(', ')) ]
				.concat(relays ? _('port %s (UDP) is open for %s').format(port(stun_listen), open_zone.join(', ')) : [])
				.concat(alias ? _('port 443 is led to the server, for %s').format(open_zone.join(', ')) : [])) ],
		[ _('In the LAN'), reach == 'lan' ? _('no entry in dnsmasq is needed')
			: alias ? _('this router has the address %s too, dnsmasq answers %s with it, and its port 443 is led to the server').format(alias, host)
				: _('dnsmasq answers %s with the address of this router').format(host) ],
		[ _('Certificate'), tls.acme ? _('that of the package acme for %s; without it the server waits').format(tls.acme)
			: tls.cert ? tls.cert : _('none') ],
		old && old != server_url && nodes ? [ _('Machines that joined'), _('They know the server as %s, and must log in again with the new address.').format(old) ] : null
	].filter(line => line);
}

return server.page({
	name: 'reach',

	look() {
		return Promise.all([ uci.load('gramscale'), server.status().catch(() => ({})) ])
			.then(([ , status ]) => status);
	},

	head() {
		return [
			E('h2', {}, [ _('Reachability') ]),
			E('p', {}, [ _('From where clients reach this server. They keep the address that they joined with, so this is chosen before the first one joins.') ])
		];
	},

	show(status) {
		const chosen = get('router', 'reach') ?? 'lan';
		const given = this.given = answers();
		const fields = E('div', { 'class': 'cbi-section' });
		const questions = QUESTIONS();

		const ask = way => {
			this.way = way;
			dom.content(this.wrong, '');
			dom.content(fields, WAYS()[way][2].map(key => {
				const input = server.input(key, given[key]);
				input.addEventListener('input', () => { given[key] = input.value.trim(); });
				return server.field(questions[key][0], input, questions[key][1]);
			}));
		};
		const ways = Object.entries(WAYS()).map(([ way, [ title, text ] ]) => E('p', {}, [
			E('label', {}, [
				E('input', { 'type': 'radio', 'name': 'way', 'value': way, 'checked': way == chosen ? '' : null, 'change': () => ask(way) }),
				' ', E('strong', {}, [ title ])
			]),
			E('br'), text
		]));

		this.wrong = E('div');
		ask(chosen);
		this.verdict = this.verdict ?? E('div', { 'id': 'gramscale-verdict' });

		return [
			E('div', { 'class': 'cbi-section' }, ways), fields, this.wrong,
			E('div', { 'class': 'cbi-page-actions' }, [
				server.button(_('Check the address'), 'action', () => this.check(0), { 'data-action': 'reach', 'disabled': null }), ' ',
				server.button(_('Go on'), 'apply', () => this.confirm(status), { 'data-action': 'next' })
			]),
			this.verdict
		];
	},

	/* Says what will be, and does it. */
	confirm(status) {
		const wrong = mistakes(this.way, this.given);
		dom.content(this.wrong, wrong.length ? E('div', { 'class': 'alert-message danger' },
			server.lines(wrong.map(([ title, text ]) => `${title}: ${text}`))) : '');
		if (wrong.length)
			return;

		const wanted = plan(this.way, this.given), differs = changes(wanted);
		if (!differs.length)
			return this.check(0);

		server.dialog(_('This will be so'), [ server.facts(told(wanted, status.nodes)) ], _('Apply'), 'positive', () => {
			differs.forEach(([ type, option, value ]) => put(type, option, value));
			return uci.save().then(() => uci.apply()).then(() => { this.check(TRIES); },
				error => { throw new Error(_('LuCI cannot apply the settings: %s').format(error.message ?? error)); });
		});
	},

	/* Shows whether the address answers; looks again as often as is said while it does not. */
	check(again) {
		const later = show => again
			? window.setTimeout(() => this.check(again - 1), PAUSE) : dom.content(this.verdict, show());

		dom.content(this.verdict, E('p', { 'class': 'spinning' }, [ _('Dialling the login address, as clients do.') ]));
		return server.reach().then(
			answer => answer.good ? dom.content(this.verdict, server.verdict(answer)) : later(() => server.verdict(answer)),
			error => later(() => server.away(error)));
	}
});
