'use strict';
'require baseclass';
'require form';
'require uci';

/* The options of /etc/config/gramscale: their titles, what they take, and the forms made of them.
 * What the server finds wrong beyond that it says in its log. */

const IPV4 = /^(25[0-5]|2[0-4]\d|1?\d?\d)(\.(25[0-5]|2[0-4]\d|1?\d?\d)){3}$/;

function isIpv6(text) {
	const halves = text.split('::');
	const groups = halves.flatMap(half => half == '' ? [] : half.split(':'));

	return halves.length <= 2 && groups.every(group => /^[0-9a-f]{1,4}$/i.test(group)) &&
		(halves.length == 2 ? groups.length < 8 : groups.length == 8);
}

function isPrefix(text, isAddress, bits) {
	const [ address, length, more ] = text.split('/');
	return more === undefined && isAddress(address) && /^\d{1,3}$/.test(length ?? '') &&
		Number(length) <= bits;
}

const isIpv4 = text => IPV4.test(text);
const isPort = text => /^\d{1,5}$/.test(text) && Number(text) >= 1 && Number(text) <= 65535;
const isIpv4Prefix = text => isPrefix(text, isIpv4, 32);
const isIpv6Prefix = text => isPrefix(text, isIpv6, 128);
const isDomain = text =>
	text.length <= 253 && text.split('.').every(label => /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/i.test(label));

function isUrl(text) {
	try {
		return [ 'http:', 'https:' ].includes(new URL(text).protocol) && !/\s/.test(text);
	}
	catch (e) {
		return false;
	}
}

function isSocketAddress(text) {
	const parts = /^(?:\[([^\]]+)\]|([^:]*)):(\d+)$/.exec(text);
	return parts != null && isPort(parts[3]) &&
		(parts[1] != null ? isIpv6(parts[1]) : parts[2] == '' || isIpv4(parts[2]));
}

/* What a kind of option takes, and how that is told. */
const KINDS = {
	text: [ text => !/[\x00-\x1f]/.test(text), () => _('one line of text') ],
	name: [ text => /^[\w.@-]+$/.test(text), () => _('a name without spaces') ],
	path: [ text => text.startsWith('/'), () => _('a path that begins with /') ],
	url: [ isUrl, () => _('a URL, such as http://192.168.1.1:8080') ],
	socket: [ isSocketAddress, () => _('an address and port, such as 192.168.1.1:8080 or [::]:3478') ],
	socketOrNone: [ text => text == 'none' || isSocketAddress(text),
		() => _('an address and port, such as 192.168.1.1:8080 or [::]:3478, or none') ],
	port: [ isPort, () => _('a number from 1 to 65535') ],
	count: [ text => /^\d{1,10}$/.test(text) && Number(text) <= 4294967295, () => _('a whole number') ],
	mode: [ text => /^0?[0-7]{3}$/.test(text), () => _('permissions, such as 0770') ],
	ipv4: [ isIpv4, () => _('an IPv4 address') ],
	ipv6: [ isIpv6, () => _('an IPv6 address') ],
	ip: [ text => isIpv4(text) || isIpv6(text), () => _('an IP address') ],
	prefix: [ text => isIpv4Prefix(text) || isIpv6Prefix(text), () => _('a prefix, such as 192.168.0.0/16') ],
	prefix4: [ text => text == 'none' || isIpv4Prefix(text), () => _('an IPv4 prefix, or none') ],
	prefix6: [ text => text == 'none' || isIpv6Prefix(text), () => _('an IPv6 prefix, or none') ],
	domain: [ isDomain, () => _('a domain') ],
	nameserver: [ text => isIpv4(text) || isIpv6(text) || text.startsWith('https://') && isUrl(text),
		() => _('an IP address or an https URL') ],
	duration: [ text => /^(\d+|(\d+(\.\d+)?(ms|s|m|h|d|w|y))+)$/.test(text),
		() => _('a duration, such as 90s, 30m, 24h or 90d') ]
};

const LEVELS = [ 'error', 'warn', 'info', 'debug', 'trace', 'off' ];

/* Per section: its type, its title, and its options as [name, kind, title, default, help]. A kind
 * in brackets is a list of such; `flag` is on or off; a list of values is a choice among them. What
 * is `many` may be there several times. */
const SECTIONS = () => [
	{ type: 'server', title: _('Server'), options: [
		[ 'enabled', 'flag', _('Start the service'), '0' ],
		[ 'server_url', 'url', _('Login address'), '', _('What clients log in at. They keep the one that they joined with.') ],
		[ 'listen', ['socket'], _('Listen on'), '', _('Where control, relay and API are served, on one port.') ],
		[ 'admin_allow', ['prefix'], _('API for'), '', _('Who may use the API, with an API key; private networks without it.') ],
		[ 'trusted_proxy', ['prefix'], _('Trusted proxies'), '', _('Proxies whose word about the address of a client is believed.') ],
		[ 'prefix_v4', 'prefix4', _('IPv4 addresses of machines'), '100.64.0.0/10' ],
		[ 'prefix_v6', 'prefix6', _('IPv6 addresses of machines'), 'fd7a:115c:a1e0::/48' ],
		[ 'allocation', [['sequential', _('the lowest that is free')], ['random', _('any')]], _('New addresses'), 'sequential' ],
		[ 'metrics_listen', 'socketOrNone', _('Metrics on'), 'none' ],
		[ 'data_dir', 'path', _('Folder of the database'), '/etc/gramscale' ],
		[ 'socket', 'path', _('Socket of the command line'), '/var/run/gramscale/gramscale.sock' ],
		[ 'socket_mode', 'mode', _('Its permissions'), '0770', _('Who may open the socket may command.') ],
		[ 'noise_key', 'path', _('File with the server\'s key'), '', _('Without it, the key lies in the database.') ],
		[ 'clock_trusted', 'flag', _('Trust the clock from the start'), '0', _('Otherwise nothing expires until the clock is synchronised.') ]
	] },
	{ type: 'router', title: _('This router'), options: [
		[ 'reach', [['lan', _('from the LAN only')], ['https', _('from everywhere, with a certificate')], ['http', _('from everywhere, without a certificate')]], _('Clients reach the server'), 'lan' ],
		[ 'open_zone', ['name'], _('Open for zones'), '', _('Firewall zones from which the server may be reached, such as wan; lan is open anyway.') ],
		[ 'alias', 'ipv4', _('Second address in the LAN'), '', _('A free address of the LAN whose port 443 is the server\'s, for access without a certificate.') ],
		[ 'lan_names', 'flag', _('Names for the LAN'), '0', _('Machines of the LAN without a client can look up the names of nodes; the router itself must be a node.') ],
		[ 'nat', 'flag', _('Tell outside addresses'), '1', _('Other nodes are told under which address this router shows nodes of its LANs to the world.') ],
		[ 'lan', ['prefix'], _('Networks of the LAN'), '', _('Without it: the private networks of its interfaces.') ],
		[ 'wan_ipv4', 'ipv4', _('Address outside'), '', _('Without it: that of the default route, as it changes.') ]
	] },
	{ type: 'tls', title: _('Certificate'), options: [
		[ 'acme', 'domain', _('Certificate of the package acme'), '', _('By its first domain. It is also followed when it is renewed.') ],
		[ 'cert', 'path', _('File with the certificate'), '', _('With its chain, PEM; the user gramscale must be able to read it.') ],
		[ 'key', 'path', _('File with its key'), '' ]
	] },
	{ type: 'nodes', title: _('Machines and keys'), options: [
		[ 'expiry', 'duration', _('Log in again after'), '0', _('For machines without tags; 0 is never.') ],
		[ 'approval', 'flag', _('New machines wait for approval'), '0', _('Until then they reach nobody. Those with a key that is approved beforehand do not wait.') ],
		[ 'ephemeral_timeout', 'duration', _('Forget ephemeral machines after'), '2m' ],
		[ 'auth_key_retention', 'duration', _('Keep old auth keys for'), '7d' ],
		[ 'ha_probe_interval', 'duration', _('Try routers that share a route every'), '10s' ],
		[ 'ha_probe_timeout', 'duration', _('They must answer within'), '5s' ]
	] },
	{ type: 'user', title: _('Users from the start'), many: true, options: [
		[ 'name', 'name', _('Name'), '' ]
	] },
	{ type: 'derp', title: _('Relay and STUN'), options: [
		[ 'enabled', 'flag', _('Relay for machines that have no direct way'), '1' ],
		[ 'stun_listen', 'socketOrNone', _('Answer STUN on'), '[::]:3478' ],
		[ 'verify_clients', 'flag', _('Only for machines of this network'), '1' ],
		[ 'follow_wan', 'flag', _('Tell the addresses of this router'), '0', _('Its public addresses, as they change.') ],
		[ 'ipv4', 'ipv4', _('IPv4 address to tell'), '' ],
		[ 'ipv6', 'ipv6', _('IPv6 address to tell'), '' ],
		[ 'region_id', 'port', _('Number of the region'), '999' ],
		[ 'region_code', 'name', _('Short name of the region'), 'gramscale' ],
		[ 'region_name', 'text', _('Name of the region'), 'gramscale' ],
		[ 'add_region', 'flag', _('Put the region into the map'), '1' ],
		[ 'rate_limit', 'count', _('Bytes a second for each machine'), '0', _('0 is no limit.') ],
		[ 'max_connections', 'count', _('Connections at most'), '10000' ],
		[ 'max_queued_bytes', 'count', _('Bytes that wait at most'), '8388608' ],
		[ 'key', 'path', _('File with the relay\'s key'), '', _('Without it, the key lies in the database.') ],
		[ 'url', ['url'], _('Maps of other relays'), '', _('URLs of JSON documents.') ],
		[ 'path', ['path'], _('Files with maps of other relays'), '' ],
		[ 'auto_update', 'flag', _('Fetch the maps again'), '1' ],
		[ 'update_interval', 'duration', _('How often'), '3h' ]
	] },
	{ type: 'derp_region', title: _('Other relays'), many: true, options: [
		[ 'id', 'port', _('Number'), '' ],
		[ 'host', 'domain', _('Host'), '' ],
		[ 'code', 'name', _('Short name'), '' ],
		[ 'name', 'text', _('Name'), '' ],
		[ 'port', 'port', _('Port'), '443' ],
		[ 'stun_port', 'port', _('STUN port'), '3478' ],
		[ 'ipv4', 'ipv4', _('IPv4 address'), '' ],
		[ 'ipv6', 'ipv6', _('IPv6 address'), '' ]
	] },
	{ type: 'dns', title: _('Names'), dns: true, options: [
		[ 'magic_dns', 'flag', _('Clients know the names of machines'), '1' ],
		[ 'base_domain', 'domain', _('What follows the names'), 'tail.internal', _('The host of the login address must not lie in it.') ],
		[ 'nameserver', ['nameserver'], _('Name servers for clients'), '' ],
		[ 'override_local', [['', _('if there are any')], ['1', _('always')], ['0', _('never')]], _('Clients use these for everything'), '' ],
		[ 'search_domain', ['domain'], _('Search domains'), '', _('Tried behind a short name.') ],
		[ 'records_file', 'path', _('File with more names'), '', _('JSON; it is read again when it changes.') ]
	] },
	{ type: 'split_dns', title: _('Name servers for some domains'), dns: true, many: true, options: [
		[ 'domain', 'domain', _('Domain'), '' ],
		[ 'server', ['nameserver'], _('Name servers'), '' ]
	] },
	{ type: 'host_record', title: _('More names'), dns: true, many: true, options: [
		[ 'name', 'domain', _('Name'), '', _('Whole, such as nas.tail.internal.') ],
		[ 'ip', ['ip'], _('Addresses'), '' ]
	] },
	{ type: 'policy', title: _('Source of the access policy'), options: [
		[ 'mode', [['', _('the file, if one is named')], ['database', _('the page Access policy')], ['file', _('the file')]], _('From'), '' ],
		[ 'path', 'path', _('File'), '' ]
	] },
	{ type: 'clients', title: _('What clients may do'), options: [
		[ 'taildrop', 'flag', _('Send each other files'), '1' ],
		[ 'auto_update', 'flag', _('Update themselves'), '0' ],
		[ 'logtail', 'flag', _('Send their logs to the maker of the client'), '0' ]
	] },
	{ type: 'log', title: _('Log'), options: [
		[ 'level', LEVELS.map(level => [ level, level ]), _('Level'), 'info' ],
		[ 'format', [['syslog', _('to the log of the system')], ['text', _('lines of text')], ['json', 'JSON']], _('Form'), 'syslog' ]
	] },
	{ type: 'database', title: _('Database of headscale'), options: [
		[ 'type', [['', _('none')], ['sqlite', 'SQLite'], ['postgres', 'PostgreSQL']], _('Kind'), '' ],
		[ 'path', 'path', _('File'), '', _('With one of headscale there, the server does not begin with an empty database of its own.') ]
	] }
];

function addOption(section, [ name, kind, title, normal, help ]) {
	const choice = Array.isArray(kind) && Array.isArray(kind[0]);
	const list = Array.isArray(kind) && !choice;
	const option = section.option(
		kind == 'flag' ? form.Flag : choice ? form.ListValue : list ? form.DynamicList : form.Value,
		name, title, help);

	/* Neither list nor option is written while it has its normal value. */
	option.rmempty = true;
	if (kind == 'flag') {
		option.default = normal;
	}
	else if (choice) {
		kind.forEach(([ value, text ]) => option.value(value, text));
		option.default = normal;
		option.optional = normal != '';
	}
	else {
		option.placeholder = normal;
		option.validate = (id, value) =>
			value == null || value === '' ? true : wrong(list ? kind[0] : kind, value) ?? true;
	}
}

/* What is wrong with a text where a kind of value is expected, or null. */
function wrong(kind, text) {
	const [ fits, told ] = KINDS[kind];
	return fits(text) ? null : _('Expecting: %s').format(told());
}

return baseclass.extend({
	wrong,

	/* The type and the option names of each section, for tests. */
	names() {
		return Object.fromEntries(SECTIONS().map(({ type, options }) =>
			[ type, options.map(([ name ]) => name) ]));
	},

	/* Reads the settings, and adds the sections that are not in the file yet: a form shows only
	 * what is there. */
	load() {
		return uci.load('gramscale').then(() => SECTIONS().forEach(({ type, many }) => {
			if (!many && !uci.sections('gramscale', type).length)
				uci.add('gramscale', type, type);
		}));
	},

	/* The form of the DNS page or of the other settings. */
	map(dns, title, description) {
		const map = new form.Map('gramscale', title, description);

		SECTIONS().filter(section => !!section.dns == dns).forEach(({ type, title, many, options }) => {
			const section = map.section(form.TypedSection, type, title);
			section.anonymous = true;
			section.addremove = !!many;
			options.forEach(option => addOption(section, option));
		});

		return map;
	}
});
