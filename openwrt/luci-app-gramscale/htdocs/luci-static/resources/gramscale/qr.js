'use strict';
'require baseclass';

/*
 * QR codes (ISO/IEC 18004) for short texts: byte mode, error correction level M, versions 1 to 9,
 * which is up to 180 bytes.
 */

/* Per version: codewords in all, error correction codewords a block, blocks. */
const VERSIONS = [
	[26, 10, 1], [44, 16, 1], [70, 26, 1], [100, 18, 2], [134, 24, 2],
	[172, 16, 4], [196, 18, 4], [242, 22, 4], [292, 22, 5]
];

/* Centres of the alignment patterns; version 1 has none. */
const ALIGNMENT = [
	[], [6, 18], [6, 22], [6, 26], [6, 30], [6, 34], [6, 22, 38], [6, 24, 42], [6, 26, 46]
];

const MASKS = [
	(x, y) => (x + y) % 2 == 0,
	(x, y) => y % 2 == 0,
	(x, y) => x % 3 == 0,
	(x, y) => (x + y) % 3 == 0,
	(x, y) => (Math.floor(y / 2) + Math.floor(x / 3)) % 2 == 0,
	(x, y) => (x * y) % 2 + (x * y) % 3 == 0,
	(x, y) => ((x * y) % 2 + (x * y) % 3) % 2 == 0,
	(x, y) => ((x + y) % 2 + (x * y) % 3) % 2 == 0
];

/* Multiplication in the field of 256 elements with the polynomial 0x11d. */
function times(a, b) {
	let product = 0;

	for (let bit = 7; bit >= 0; bit--) {
		product = (product << 1) ^ ((product >> 7) * 0x11d);
		product ^= ((b >> bit) & 1) * a;
	}

	return product;
}

/* The remainder of the data's polynomial, which is the error correction of a block. */
function correction(data, length) {
	let divisor = [1], root = 1;

	for (let i = 0; i < length; i++) {
		divisor = divisor.concat(0).map((c, j) => c ^ times(divisor[j - 1] ?? 0, root));
		root = times(root, 2);
	}

	const rest = data.concat(Array(length).fill(0));
	for (let i = 0; i < data.length; i++) {
		const factor = rest[i];
		divisor.forEach((c, j) => { rest[i + j] ^= times(c, factor); });
	}

	return rest.slice(data.length);
}

/* The BCH code of format and version information. */
function bch(value, polynomial, bits) {
	const top = 1 << bits;
	let rest = value << bits;

	for (let bit = 1 << 30; bit >= top; bit >>= 1)
		if (rest & bit)
			rest ^= polynomial * (bit / top);

	return (value << bits) | rest;
}

/* All codewords of a text in the order in which they are drawn. */
function codewords(bytes, version) {
	const [total, ecc, blocks] = VERSIONS[version - 1];
	const capacity = total - ecc * blocks;
	let bits = '0100' + bytes.length.toString(2).padStart(8, '0');

	bytes.forEach(byte => { bits += byte.toString(2).padStart(8, '0'); });
	bits = (bits + '0000').slice(0, capacity * 8);

	const data = [];
	for (let i = 0; i < bits.length; i += 8)
		data.push(parseInt(bits.slice(i, i + 8).padEnd(8, '0'), 2));
	for (let pad = 0xec; data.length < capacity; pad ^= 0xec ^ 0x11)
		data.push(pad);

	const split = [], size = Math.floor(capacity / blocks), longer = blocks - capacity % blocks;
	for (let i = 0, at = 0; i < blocks; i++) {
		const end = at + size + (i >= longer ? 1 : 0);
		split.push(data.slice(at, end));
		at = end;
	}

	const interleave = (lists, longest) => {
		const out = [];
		for (let i = 0; i < longest; i++)
			lists.forEach(list => { if (i < list.length) out.push(list[i]); });
		return out;
	};

	return interleave(split, size + 1).concat(interleave(split.map(b => correction(b, ecc)), ecc));
}

/* A square of modules; fixed ones are no room for data. */
class Square {
	constructor(size) {
		this.size = size;
		this.dark = Array.from({ length: size }, () => Array(size).fill(false));
		this.fixed = Array.from({ length: size }, () => Array(size).fill(false));
	}

	set(x, y, dark) {
		if (x >= 0 && y >= 0 && x < this.size && y < this.size) {
			this.dark[y][x] = !!dark;
			this.fixed[y][x] = true;
		}
	}

	/* Squares one inside the other around a centre; dark where `rings` says so. */
	rings(cx, cy, rings) {
		const radius = rings.length - 1;
		for (let y = -radius; y <= radius; y++)
			for (let x = -radius; x <= radius; x++)
				this.set(cx + x, cy + y, rings[Math.max(Math.abs(x), Math.abs(y))]);
	}

	patterns(version) {
		const last = this.size - 7, marks = ALIGNMENT[version - 1];

		for (let i = 0; i < this.size; i++) {
			this.set(6, i, i % 2 == 0);
			this.set(i, 6, i % 2 == 0);
		}

		[[3, 3], [this.size - 4, 3], [3, this.size - 4]].forEach(([x, y]) =>
			this.rings(x, y, [1, 1, 0, 1, 0]));
		marks.forEach(x => marks.forEach(y => {
			if (!(x == 6 && (y == 6 || y == last) || y == 6 && x == last))
				this.rings(x, y, [1, 0, 1]);
		}));

		if (version >= 7) {
			const bits = bch(version, 0x1f25, 12);
			for (let i = 0; i < 18; i++) {
				const a = this.size - 11 + i % 3, b = Math.floor(i / 3);
				this.set(a, b, (bits >> i) & 1);
				this.set(b, a, (bits >> i) & 1);
			}
		}

		this.format(0);
	}

	/* Level M is 00, so that the number of the mask is all that is to be told. */
	format(mask) {
		const bits = bch(mask, 0x537, 10) ^ 0x5412;
		const bit = i => (bits >> i) & 1;

		for (let i = 0; i < 8; i++) {
			this.set(8, i < 6 ? i : i + 1, bit(i));
			this.set(this.size - 1 - i, 8, bit(i));
		}
		this.set(7, 8, bit(8));
		for (let i = 9; i < 15; i++)
			this.set(14 - i, 8, bit(i));
		for (let i = 8; i < 15; i++)
			this.set(8, this.size - 15 + i, bit(i));
		this.set(8, this.size - 8, 1);
	}

	/* Data goes up and down in columns of two, from the right. */
	fill(words) {
		let next = 0;

		for (let right = this.size - 1; right > 0; right -= 2) {
			if (right == 6)
				right = 5;
			const up = ((right + 1) & 2) == 0;
			for (let i = 0; i < this.size; i++)
				for (let x = right; x > right - 2; x--) {
					const y = up ? this.size - 1 - i : i;
					if (!this.fixed[y][x]) {
						this.dark[y][x] = !!((words[next >> 3] >> (7 - (next & 7))) & 1);
						next++;
					}
				}
		}
	}

	mask(number) {
		for (let y = 0; y < this.size; y++)
			for (let x = 0; x < this.size; x++)
				if (!this.fixed[y][x] && MASKS[number](x, y))
					this.dark[y][x] = !this.dark[y][x];
		this.format(number);
	}

	/* How hard it is to read: long runs, blocks, what looks like a finder, too much of a colour. */
	penalty() {
		const size = this.size, at = (x, y) => this.dark[y][x] ? 1 : 0;
		let sum = 0, dark = 0;

		for (let a = 0; a < size; a++) {
			for (const line of [b => at(b, a), b => at(a, b)]) {
				let text = '';
				for (let b = 0; b < size; b++)
					text += line(b);
				(text.match(/0{5,}|1{5,}/g) ?? []).forEach(run => { sum += run.length - 2; });
				for (let b = 0; b + 11 <= size; b++)
					if (['00001011101', '10111010000'].includes(text.slice(b, b + 11)))
						sum += 40;
			}
		}

		for (let y = 0; y < size; y++)
			for (let x = 0; x < size; x++) {
				dark += at(x, y);
				if (x && y && new Set([at(x, y), at(x - 1, y), at(x, y - 1), at(x - 1, y - 1)]).size == 1)
					sum += 3;
			}

		return sum + 10 * Math.floor(Math.abs(dark * 20 - size * size * 10) / (size * size));
	}
}

return baseclass.extend({
	/* The rows of a code as lists of true (dark) and false; null for a text that is too long. */
	rows(text) {
		const bytes = Array.from(new TextEncoder().encode(text));
		const version = 1 + VERSIONS.findIndex(([total, ecc, blocks]) =>
			bytes.length + 2 <= total - ecc * blocks);

		if (version == 0)
			return null;

		let best = null;
		for (let mask = 0; mask < MASKS.length; mask++) {
			const square = new Square(17 + 4 * version);
			square.patterns(version);
			square.fill(codewords(bytes, version));
			square.mask(mask);

			const penalty = square.penalty();
			if (!best || penalty < best.penalty)
				best = { penalty, rows: square.dark };
		}

		return best.rows;
	},

	/* The code as an image with the white border that readers need; null as above. */
	image(text, label) {
		const rows = this.rows(text);
		if (!rows)
			return null;

		const svg = (name, attributes) => {
			const node = document.createElementNS('http://www.w3.org/2000/svg', name);
			for (const key in attributes)
				node.setAttribute(key, attributes[key]);
			return node;
		};
		const size = rows.length + 8;
		const path = rows.map((row, y) => row.map((dark, x) =>
			dark ? `M${x + 4},${y + 4}h1v1h-1z` : '').join('')).join('');
		const image = svg('svg', {
			viewBox: `0 0 ${size} ${size}`, width: 4 * size, height: 4 * size, role: 'img',
			'shape-rendering': 'crispEdges', 'aria-label': label
		});

		image.append(
			svg('rect', { width: size, height: size, fill: '#fff' }),
			svg('path', { d: path, fill: '#000' }));
		return image;
	}
});
