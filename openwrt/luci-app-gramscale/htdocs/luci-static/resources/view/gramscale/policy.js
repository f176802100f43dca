'use strict';
'require view';
'require dom';
'require gramscale.server as server';

/* What a new policy begins with: what holds without one. */
const OPEN = `{
	// Who may reach what. This allows everything.
	"grants": [
		{"src": ["*"], "dst": ["*"], "ip": ["*"]},
	],

	// Checked each time before the policy is put in force.
	"tests": [],
}
`;

return view.extend({
	handleSaveApply: null,
	handleSave: null,
	handleReset: null,

	load() {
		return Promise.all([
			server.status(),
			server.policy().catch(error => {
				if (error.status != 404)
					throw error;
				return { policy: null };
			})
		]).then(([ status, { policy, updatedAt } ]) => ({ status, policy, updatedAt }), error => ({ error }));
	},

	render({ status, policy, updatedAt, error }) {
		if (error)
			return E([ E('h2', {}, [ _('Access policy') ]), server.away(error) ]);

		const file = status.policy != 'database' ? status.policy : null;
		const said = E('div', { 'id': 'gramscale-verdict' });
		const text = E('textarea', {
			'id': 'gramscale-policy', 'class': 'cbi-input-textarea', 'rows': 28, 'wrap': 'off',
			'spellcheck': 'false', 'readonly': file == null && server.mayWrite() ? null : '',
			'style': 'width:100%;font-family:monospace;tab-size:4'
		}, [ policy ?? OPEN ]);

		this.text = text;
		this.said = said;

		return E([
			E('h2', {}, [ _('Access policy') ]),
			E('p', { 'data-name': 'source' }, [
				file ? _('This is the file %s. Edit it there; it is read again when the service is reloaded.').format(file)
					: file === '' ? _('There is no policy: every machine may reach every other. Settings say that it comes from a file, but name none.')
						: policy == null ? _('There is no policy: every machine may reach every other.')
							: _('In force since %s.').format(server.when(updatedAt))
			]),
			text,
			said,
			E('div', { 'class': 'cbi-page-actions' }, [
				/* Checking changes nothing, so whoever may read may check. */
				server.button(_('Check'), 'action', () => this.check(), { 'data-action': 'check', 'disabled': null }), ' ',
				file == null ? server.button(_('Put in force'), 'apply', () => this.set(), { 'data-action': 'set' }) : ''
			]),
			this.renderQuestion()
		]);
	},

	/* What the policy in force says of one connection. */
	renderQuestion() {
		const from = server.input('src', ''), to = server.input('dst', '');
		const answer = E('p', { 'id': 'gramscale-answer' });
		const ask = () => server.policyExplain(from.value.trim(), to.value.trim()).then(
			({ allowed, reason, line, text }) => dom.content(answer, [
				E('strong', {}, [ allowed ? _('Allowed') : _('Not allowed') ]), ` (${reason}) `,
				line ? E('code', {}, [ text ]) : ''
			]),
			error => dom.content(answer, [ error.message ]));

		return E('div', { 'class': 'cbi-section' }, [
			E('h3', {}, [ _('Ask the policy that is in force') ]),
			server.field(_('From'), from, _('A user (ann@), a tag (tag:web), a group, a machine\'s address.')),
			server.field(_('To'), to, _('The same, with a port: tag:web:443.')),
			E('p', {}, [ server.button(_('Ask'), 'action', ask, { 'data-action': 'ask', 'disabled': null }) ]),
			answer
		]);
	},

	/* Says that all is well, and what the server noted. */
	praise(text, notes) {
		dom.content(this.said, [
			E('p', { 'class': 'alert-message success' }, [ text ]),
			notes?.length ? E('div', { 'class': 'alert-message notice', 'data-name': 'notes' }, server.lines(notes)) : ''
		]);
	},

	/* Says what the server said; an error's line is shown with its neighbours, and chosen. */
	say(error) {

		const line = Number(/^line (\d+)/.exec(error.message)?.[1] ?? 0);
		const lines = this.text.value.split('\n');
		const near = !line ? '' : E('pre', { 'data-name': 'near' }, lines.slice(Math.max(0, line - 3), line + 2)
			.map((content, i) => {
				const number = Math.max(1, line - 2) + i;
				return E(number == line ? 'strong' : 'span', {}, [ `${String(number).padStart(4)}  ${content}\n` ]);
			}));

		dom.content(this.said, E('div', { 'class': 'alert-message danger' }, [
			E('p', {}, [ error.message ]), near ]));

		if (line) {
			const start = lines.slice(0, line - 1).reduce((sum, one) => sum + one.length + 1, 0);
			this.text.focus();
			this.text.setSelectionRange(start, start + (lines[line - 1] ?? '').length);
			this.text.scrollTop = this.text.scrollHeight * Math.max(0, line - 5) / lines.length;
		}
	},

	check() {
		if (this.text.value.length > server.POLICY_MAX) {
			this.say(new Error(_('This is too long for this page. Use the command line: gramscale policy set -f FILE')));
			return Promise.resolve(false);
		}

		return server.policyCheck(this.text.value).then(
			({ notes }) => { this.praise(_('The policy is good, and its tests pass.'), notes); return true; },
			error => { this.say(error); return false; });
	},

	set() {
		return this.check().then(good => {
			if (good)
				server.ask(_('Put the policy in force'),
					_('Each machine is told at once what it may reach from now on. Connections that the policy no longer allows end, perhaps the one by which you are here.'),
					_('Put in force'), () => server.policySet(this.text.value).then(
						({ notes }) => this.praise(_('The policy is in force.'), notes)));
		});
	}
});
