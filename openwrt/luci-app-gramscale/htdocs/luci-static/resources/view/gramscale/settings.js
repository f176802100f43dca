'use strict';
'require view';
'require gramscale.options as options';

return view.extend({
	load() {
		return options.load();
	},

	render() {
		return options.map(false, _('Settings'),
			_('An empty field has the value that is shown in it in grey. The log says if the server finds a value wrong; it keeps the old settings then.')).render();
	}
});
