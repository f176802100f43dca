'use strict';
'require gramscale.server as server';

/* What an exit node offers; both or none. */
const EXIT = [ '0.0.0.0/0', '::/0' ];

return server.page({
	name: 'routes',
	every: 15,

	look() {
		return server.nodes().then(nodes => ({ nodes }));
	},

	head() {
		return [
			E('h2', {}, [ _('Routes') ]),
			E('p', {}, [ _('Networks that machines offer to lead to (tailscale set --advertise-routes), and machines that offer to be a way into the internet (--advertise-exit-node). None is used before it is approved.') ])
		];
	},

	show({ nodes }) {
		const rows = nodes.flatMap(node => this.groups(node).map(group => ({
			id: `${node.id} ${group.routes[0]}`, row: this.row(node, group)
		})));

		return E('div', { 'class': 'cbi-section' }, [
			server.table([ _('Network'), _('Machine'), _('State'), '' ], rows,
				_('No machine offers a route.'))
		]);
	},

	/* Each route for itself, those of an exit node together. */
	groups(node) {
		const all = Array.from(new Set(node.availableRoutes.concat(node.approvedRoutes)));
		const exit = all.filter(route => EXIT.includes(route));
		const groups = all.filter(route => !EXIT.includes(route)).map(route => [ route ]);

		return groups.concat(exit.length ? [ exit ] : []).map(routes => ({
			routes,
			offered: routes.some(route => node.availableRoutes.includes(route)),
			approved: routes.every(route => node.approvedRoutes.includes(route)),
			serves: routes.some(route => node.subnetRoutes.includes(route))
		}));
	},

	row(node, { routes, offered, approved, serves }) {
		const set = (label, style, name, handler) =>
			server.button(label, style, handler, { 'data-action': name });
		const title = EXIT.includes(routes[0]) ? _('the internet') : routes[0];

		return [
			title,
			node.givenName,
			!approved ? _('not approved') : !offered ? _('approved, not offered')
				: serves ? _('in use') : node.online ? _('stands by') : _('offline'),
			approved
				? set(_('Withdraw'), 'remove', 'withdraw', () => server.ask(_('Withdraw a route'),
					_('No machine reaches %s through “%s” any more, from now on.').format(title, node.givenName),
					_('Withdraw'), () => this.approve(node, node.approvedRoutes.filter(one => !routes.includes(one)))))
				: set(_('Approve'), 'add', 'approve', () => this.approve(node,
					node.approvedRoutes.concat(EXIT.includes(routes[0]) ? EXIT : routes))
					.catch(error => server.complain(error)))
		];
	},

	approve(node, routes) {
		return this.after(server.nodeRoutes(node.id, Array.from(new Set(routes))));
	}
});
