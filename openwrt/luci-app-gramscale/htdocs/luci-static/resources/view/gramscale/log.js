'use strict';
'require view';
'require poll';
'require rpc';
'require dom';

/* Lines of the system's log that are looked through for ours. */
const LINES = 2000;

const logRead = rpc.declare({
	object: 'log', method: 'read', params: [ 'lines', 'stream', 'oneshot' ], expect: { log: [] }
});

return view.extend({
	handleSaveApply: null,
	handleSave: null,
	handleReset: null,

	load() {
		return logRead(LINES, false, true);
	},

	render(entries) {
		const text = E('pre', {
			'id': 'gramscale-log', 'style': 'white-space:pre-wrap;overflow-wrap:anywhere'
		});
		const level = E('select', { 'class': 'cbi-input-select', 'name': 'level', 'change': () => draw() }, [
			E('option', { 'value': '7' }, [ _('everything') ]),
			E('option', { 'value': '4' }, [ _('warnings and errors') ]),
			E('option', { 'value': '3' }, [ _('errors') ])
		]);

		/* The lower three bits of a priority are the severity (RFC 5424 section 6.2.1). The message
		 * begins with the tag, which is the service's name. */
		const draw = () => {
			const ours = entries.filter(entry => /^gramscale\b/.test(entry.msg) &&
				(entry.priority & 7) <= Number(level.value));
			dom.content(text, ours.length ? ours.map(entry => E(
				(entry.priority & 7) <= 4 ? 'strong' : 'span', {},
				[ `${new Date(entry.time).toLocaleString()}  ${entry.msg}\n` ]))
				: E('em', {}, [ _('The system\'s log has no line of this service.') ]));
		};

		draw();
		poll.add(() => logRead(LINES, false, true).then(list => { entries = list; draw(); }), 5);

		return E([ E('h2', {}, [ _('Log') ]), E('p', {}, [ level ]), text ]);
	}
});
