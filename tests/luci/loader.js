'use strict';

/* As much of LuCI as the pages of this app use, with the same meaning, to run them without a router.
 * A page gets at nothing that calls.json does not name, nor with another number of arguments. */

(async () => {
	const calls = await (await fetch('/calls.json')).json();
	const session = new URLSearchParams(location.search).get('session');
	const catalogue = await (await fetch('/catalogue.json')).json();

	/* An object that knows only what is recorded for it. What a page sets itself, it may read. */
	function guarded(name, object) {
		const own = new Set();

		return new Proxy(object, {
			get(target, key) {
				if (typeof key == 'symbol' || key == 'then' || own.has(key))
					return target[key];
				const arity = calls[name]?.[key];
				if (arity === undefined)
					throw new Error(`LuCI call that is not recorded: ${name}.${String(key)}`);
				if (!(key in target))
					throw new Error(`recorded but not made: ${name}.${String(key)}`);
				return arity.length ? counted(`${name}.${String(key)}`, arity, target[key], target) : target[key];
			},
			set(target, key, value) {
				own.add(key);
				target[key] = value;
				return true;
			}
		});
	}

	function counted(name, [ least, most ], f, self) {
		const check = args => {
			if (args.length < least || args.length > most)
				throw new Error(`${name} with ${args.length} arguments, not ${least} to ${most}`);
		};

		return new Proxy(f, {
			apply(target, _this, args) { check(args); return target.apply(self, args); },
			construct(target, args) { check(args); return new target(...args); }
		});
	}

	/* dom */

	function append(node, children) {
		if (Array.isArray(children))
			children.forEach(child => {
				if (child != null)
					node.append(child instanceof Node ? child : String(child));
			});
		else if (children instanceof Node)
			node.append(children);
		else if (children != null)
			/* As in LuCI, a text that is in no list is markup. */
			node.innerHTML = children;
	}

	const dom = {
		content(node, children) {
			node.replaceChildren();
			append(node, children);
		}
	};

	function E(tag, attributes, children) {
		if (Array.isArray(tag)) {
			const fragment = document.createDocumentFragment();
			append(fragment, tag);
			append(fragment, attributes);
			return fragment;
		}
		const node = document.createElement(tag);
		if (attributes instanceof Node || Array.isArray(attributes) || typeof attributes == 'string')
			[ attributes, children ] = [ {}, attributes ];
		for (const key in attributes) {
			const value = attributes[key];
			if (typeof value == 'function')
				node.addEventListener(key, value);
			else if (value != null)
				node.setAttribute(key, value);
		}
		append(node, children);
		return node;
	}

	String.prototype.format = function(...args) {
		return this.replace(/%([%sd])/g, (all, kind) => kind == '%' ? '%'
			: kind == 'd' ? String(Math.trunc(args.shift())) : String(args.shift()));
	};

	/* rpc */

	let id = 0;

	async function ubus(object, method, params) {
		const reply = await fetch('/ubus/', {
			method: 'POST',
			body: JSON.stringify({ jsonrpc: '2.0', id: ++id, method: 'call', params: [ session, object, method, params ] })
		});
		const { result, error } = await reply.json();
		if (error)
			throw new Error(`RPC call to ${object}/${method} failed with error ${error.code}: ${error.message}`);
		return result;
	}

	const rpc = {
		declare({ object, method, params, expect, reject }) {
			return async (...args) => {
				const named = {};
				(params ?? []).forEach((name, i) => { named[name] = args[i]; });
				const [ code, value ] = await ubus(object, method, named);
				if (code && reject)
					throw new Error(`RPC call to ${object}/${method} failed with ubus code ${code}`);
				for (const key in expect) {
					const got = key == '' ? value : value?.[key];
					const same = got != null && Array.isArray(got) == Array.isArray(expect[key]);
					return same ? got : expect[key];
				}
				return value;
			};
		}
	};

	/* poll: at once and often, so that tests see what comes of it. */

	const poll = { add(f) { setInterval(f, 1000); } };

	/* ui */

	let modal = null;

	const ui = {
		showModal(title, children) {
			ui.hideModal();
			modal = E('div', { 'id': 'modal_overlay' }, [ E('div', { 'class': 'modal' }, [ E('h4', {}, title) ]) ]);
			append(modal.firstChild, children);
			document.body.append(modal);
			return modal.firstChild;
		},
		hideModal() { modal?.remove(); modal = null; },
		addNotification(title, children, kind) {
			const note = E('div', { 'class': 'alert-message ' + (kind ?? '') });
			append(note, children);
			document.getElementById('maincontent').prepend(note);
			return note;
		},
		createHandlerFn(self, handler) {
			const f = typeof handler == 'function' ? handler : self[handler];
			return ev => {
				const button = ev.currentTarget;
				button.disabled = true;
				Promise.resolve(f.call(self, ev)).finally(() => { button.disabled = false; });
			};
		}
	};

	/* uci */

	const state = { values: {}, added: new Map(), set: {}, gone: {} };
	let fresh = 0;

	const uci = {
		async load(config) {
			if (state.loaded)
				return;
			const [ code, reply ] = await ubus('uci', 'get', { config });
			if (code)
				throw new Error(`uci get ${config}: ${code}`);
			state.values = reply.values;
			state.loaded = true;
		},
		sections(config, type) {
			return Object.values(state.values).filter(section => section['.type'] == type).map(section => ({ ...section }));
		},
		add(config, type, name) {
			const sid = name ?? `new${fresh++}`;
			state.values[sid] = { '.type': type, '.name': sid };
			state.added.set(sid, { type, name });
			return sid;
		},
		remove(sid) {
			delete state.values[sid];
			delete state.set[sid];
			if (!state.added.delete(sid))
				state.gone[sid] = null;
		},
		set(config, sid, name, value) {
			const empty = value == null || value === '' || value.length === 0;
			if (empty && !(name in state.values[sid]))
				return;
			if (empty)
				delete state.values[sid][name];
			else
				state.values[sid][name] = value;
			if (state.added.has(sid))
				return;
			if (empty)
				(state.gone[sid] ??= []).push(name);
			else
				(state.set[sid] ??= {})[name] = value;
		},
		async save() {
			const config = 'gramscale';
			for (const [ sid, { type, name } ] of state.added) {
				const values = Object.fromEntries(Object.entries(state.values[sid]).filter(([ key ]) => key[0] != '.'));
				if (Object.keys(values).length)
					await ubus('uci', 'add', { config, type, name, values });
			}
			for (const section in state.set)
				await ubus('uci', 'set', { config, section, values: state.set[section] });
			for (const section in state.gone)
				await ubus('uci', 'delete', { config, section, options: state.gone[section] ?? undefined });
			Object.assign(state, { added: new Map(), set: {}, gone: {} });
		},
		/* It is confirmed later, when the promise has been kept. */
		async apply() {
			const [ code ] = await ubus('uci', 'apply', { timeout: 10, rollback: true });
			if (code)
				throw code;
			setTimeout(() => ubus('uci', 'confirm', {}), 1000);
		}
	};

	/* form */

	class Option {
		constructor(name, title, help) { Object.assign(this, { name, title, help, default: null }); }

		validate() { return true; }

		render(sid) {
			const current = state.values[sid][this.name];
			this.fields[sid] = this.widget(current);
			this.said = E('div', { 'class': 'alert-message error', 'style': 'display:none' });
			this.notes[sid] = this.said;
			return E('div', { 'class': 'cbi-value', 'data-name': this.name }, [
				E('label', { 'class': 'cbi-value-title' }, [ this.title ]),
				E('div', { 'class': 'cbi-value-field' }, [
					this.fields[sid], E('div', { 'class': 'cbi-value-description' }, [ this.help ]), this.notes[sid]
				])
			]);
		}

		/* Whether the values are good; a wrong one is said beside the field. */
		check(sid) {
			const wrong = [ this.read(sid) ].flat().map(value => this.validate(sid, value)).find(said => said !== true);
			this.notes[sid].textContent = wrong ?? '';
			this.notes[sid].style.display = wrong ? '' : 'none';
			return !wrong;
		}

		save(sid) {
			const value = this.read(sid), old = state.values[sid][this.name] ?? '';
			const next = this.rmempty && value === this.default ? '' : value;
			if (String(next) !== String(old))
				uci.set('gramscale', sid, this.name, next);
		}
	}

	class Value extends Option {
		widget(current) {
			return E('input', { 'type': 'text', 'class': 'cbi-input-text', 'value': current ?? '', 'placeholder': this.placeholder });
		}
		read(sid) { return this.fields[sid].value; }
	}

	class Flag extends Option {
		widget(current) {
			const on = (current ?? this.default) == '1';
			return E('input', { 'type': 'checkbox', 'checked': on ? '' : null });
		}
		read(sid) { return this.fields[sid].checked ? '1' : '0'; }
	}

	class ListValue extends Option {
		constructor(...args) { super(...args); this.choices = []; }
		value(key, text) { this.choices.push([ key, text ]); }
		widget(current) {
			return E('select', { 'class': 'cbi-input-select' }, this.choices.map(([ value, text ]) =>
				E('option', { value, 'selected': (current ?? this.default ?? '') == value ? '' : null }, [ text ])));
		}
		read(sid) { return this.fields[sid].value; }
	}

	class DynamicList extends Option {
		widget(current) {
			const box = E('div', { 'class': 'cbi-dynlist' });
			const line = value => box.append(E('input', { 'type': 'text', 'class': 'cbi-input-text', value,
				'change': () => { if (box.lastChild.value != '') line(''); } }));
			[ current ?? [] ].flat().concat('').forEach(line);
			return box;
		}
		read(sid) {
			return Array.from(this.fields[sid].children, input => input.value).filter(value => value != '');
		}
	}

	class TypedSection {
		constructor(type, title) { Object.assign(this, { type, title, list: [], anonymous: false, addremove: false }); }

		option(kind, name, title, help) {
			const option = new kind(name, title, help);
			Object.assign(option, { fields: {}, notes: {} });
			this.list.push(option);
			return guarded('form.ListValue', setters(option));
		}

		ids() { return uci.sections('gramscale', this.type).map(section => section['.name']); }

		render(again) {
			return E('div', { 'class': 'cbi-section', 'data-type': this.type }, [ E('h3', {}, [ this.title ]),
				...this.ids().map(sid => E('div', { 'class': 'cbi-section-node', 'data-section': sid },
					this.list.map(option => option.render(sid)).concat(this.addremove
						? E('button', { 'class': 'cbi-button-remove', 'click': () => { uci.remove(sid); again(); } }, [ 'Delete' ]) : []))),
				this.addremove ? E('button', { 'class': 'cbi-button-add', 'click': () => { uci.add('gramscale', this.type); again(); } }, [ 'Add' ]) : '' ]);
		}

		each(f) { return this.ids().flatMap(sid => this.list.map(option => f(option, sid))); }
	}

	class FormMap {
		constructor(config, title, description) {
			Object.assign(this, { config, title, description, list: [] });
			maps.push(this);
		}
		section(kind, type, title) {
			const section = new kind(type, title);
			this.list.push(section);
			return guarded('form.TypedSection', setters(section));
		}
		draw() {
			dom.content(this.node, [ E('h2', {}, [ this.title ]), E('div', {}, [ this.description ]),
				...this.list.map(section => section.render(() => this.draw())) ]);
		}
		async render() {
			this.node = E('div', { 'class': 'cbi-map' });
			this.draw();
			return this.node;
		}
		save() {
			const good = this.list.flatMap(section => section.each((option, sid) => option.check(sid)));
			if (good.includes(false))
				throw new Error('a value is wrong');
			this.list.forEach(section => section.each((option, sid) => option.save(sid)));
			return uci.save();
		}
	}

	/* What a page may set of a form's object, it need not call. */
	function setters(object) { return object; }

	const maps = [];
	const form = {
		Map: function(...args) { return guarded('form.Map', new FormMap(...args)); },
		TypedSection, Value, Flag, ListValue, DynamicList
	};

	/* What a page is loaded with */

	const extend = { extend: made => made };
	const modules = { baseclass: extend, dom, form, poll, rpc, uci, ui, view: extend };
	const luci = {
		hasViewPermission: () => session != 'reader',
		url: path => '/cgi-bin/luci/' + path
	};
	const loaded = {};
	const translate = text => {
		if (!(text in catalogue))
			throw new Error(`not in the template of translations: ${text}`);
		return catalogue[text];
	};

	async function load(name) {
		if (modules[name])
			return guarded(name, modules[name]);
		return loaded[name] ??= (async () => {
			const source = await (await fetch(`/luci-static/resources/${name.replaceAll('.', '/')}.js`)).text();
			const needs = Array.from(source.matchAll(/^'require ([\w.]+)(?: as (\w+))?';$/gm));
			const values = await Promise.all(needs.map(([ , module ]) => load(module)));
			const make = new Function('E', '_', 'L', ...needs.map(([ , module, as ]) => as ?? module), source);
			return make(counted('E', calls.E, E), counted('_', calls._, translate), guarded('L', luci), ...values);
		})();
	}

	const page = await load('view.gramscale.' + location.pathname.split('/').pop());
	const view = document.getElementById('view');
	const button = (label, name, act) => E('button', { 'class': 'cbi-button cbi-button-' + name, 'click': act,
		'disabled': session == 'reader' ? '' : null }, [ label ]);
	const save = async () => { for (const map of maps) await map.save(); };

	dom.content(view, await page.render(await page.load?.()));
	if (page.handleSave !== null)
		view.append(E('div', { 'class': 'cbi-page-actions' }, [
			button('Save & Apply', 'apply', () => save().then(async () => {
				await ubus('uci', 'apply', { timeout: 30, rollback: true });
				await ubus('uci', 'confirm', {});
				view.dataset.applied = 'yes';
			}, error => ui.addNotification(null, E('p', {}, [ error.message ]), 'error')))
		]));
	view.dataset.ready = 'yes';
})();
