'use strict';
'require view';
'require gramscale.options as options';

return view.extend({
	load() {
		return options.load();
	},

	render() {
		return options.map(true, _('DNS'),
			_('What clients are told about names. Connected clients follow a change at once.')).render();
	}
});
