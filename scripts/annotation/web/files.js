// Files that leave the page: masks as PNG, all of them in one zip. Pure but for `download`.
//
// The PNG is written here because a canvas writes four channels, knows no texts and, in browsers that guard against
// fingerprinting, may not give back the pixels that were put into it.

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

function crc32(bytes) {
  let crc = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) crc = CRC_TABLE[(crc ^ bytes[i]) & 255] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

function adler32(bytes) {
  let a = 1, b = 0;
  for (let i = 0; i < bytes.length; i++) {
    a = (a + bytes[i]) % 65521;
    b = (b + a) % 65521;
  }
  return b * 65536 + a;
}

function concatenated(parts) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function bigEndian32(value) {
  return Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);
}

/** Numbers as little-endian bytes; `sizes` holds a 2 or a 4 for each. */
function littleEndian(sizes, values) {
  const bytes = (value, size) => Array.from({ length: size }, (_, k) => (value >>> (8 * k)) & 255);
  return Uint8Array.from(values.flatMap((value, i) => bytes(value, sizes[i])));
}

/** Bytes in zlib's format; without CompressionStream they are only wrapped, which every reader understands too. */
async function zlib(bytes) {
  if (typeof CompressionStream === "undefined") return zlibStored(bytes);
  const stream = new Blob([bytes]).stream().pipeThrough(new CompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function zlibStored(bytes) {
  const parts = [Uint8Array.of(0x78, 0x01)];
  for (let at = 0; at < bytes.length; at += 65535) {
    const block = bytes.subarray(at, at + 65535), last = at + 65535 >= bytes.length ? 1 : 0;
    parts.push(Uint8Array.of(last), littleEndian([2, 2], [block.length, ~block.length & 0xffff]), block);
  }
  return concatenated([...parts, bigEndian32(adler32(bytes))]);
}

function pngChunk(type, content) {
  const body = concatenated([new TextEncoder().encode(type), content]);
  return concatenated([bigEndian32(content.length), body, bigEndian32(crc32(body))]);
}

/** A text of a PNG: tEXt where Latin-1 has all its letters, else iTXt, which is UTF-8. */
function pngText(keyword, text) {
  const letters = Array.from(text, (letter) => letter.codePointAt(0));
  const key = new TextEncoder().encode(keyword);
  if (letters.every((code) => code < 256)) return pngChunk("tEXt", Uint8Array.of(...key, 0, ...letters));
  return pngChunk("iTXt", Uint8Array.of(...key, 0, 0, 0, 0, 0, ...new TextEncoder().encode(text)));
}

/** A mask as an 8-bit grey PNG of 0 and 255 that carries `texts`, {keyword: text}. */
async function maskPng(mask, texts) {
  const { width, height, pixels } = mask;
  const rows = new Uint8Array((width + 1) * height); // each row begins with its filter, 0: none
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) rows[y * (width + 1) + 1 + x] = pixels[y * width + x] ? 255 : 0;
  }
  const header = concatenated([bigEndian32(width), bigEndian32(height), Uint8Array.of(8, 0, 0, 0, 0)]);
  return concatenated([
    Uint8Array.of(137, 80, 78, 71, 13, 10, 26, 10),
    pngChunk("IHDR", header),
    ...Object.entries(texts).map(([keyword, text]) => pngText(keyword, text)),
    pngChunk("IDAT", await zlib(rows)),
    pngChunk("IEND", new Uint8Array(0)),
  ]);
}

/** A zip of [{name, bytes}], stored without compression: PNG is compressed already. Names are UTF-8. */
function zipOf(files, now = new Date()) {
  const time = (now.getHours() << 11) | (now.getMinutes() << 5) | (now.getSeconds() >> 1);
  const date = ((now.getFullYear() - 1980) << 9) | ((now.getMonth() + 1) << 5) | now.getDate();
  const local = [], central = [];
  let offset = 0;
  for (const { name, bytes } of files) {
    const coded = new TextEncoder().encode(name);
    // version 2.0, UTF-8 names, stored, time, date, checksum, both sizes, length of the name, no extra field
    const common = littleEndian([2, 2, 2, 2, 2, 4, 4, 4, 2, 2],
      [20, 0x800, 0, time, date, crc32(bytes), bytes.length, bytes.length, coded.length, 0]);
    local.push(littleEndian([4], [0x04034b50]), common, coded, bytes);
    central.push(littleEndian([4, 2], [0x02014b50, 20]), common);
    central.push(littleEndian([2, 2, 2, 4, 4], [0, 0, 0, 0, offset]), coded);
    offset += 30 + coded.length + bytes.length;
  }
  const directory = concatenated(central);
  const end = littleEndian([4, 2, 2, 2, 2, 4, 4, 2],
    [0x06054b50, 0, 0, files.length, files.length, directory.length, offset, 0]);
  return concatenated([...local, directory, end]);
}

/** Let the browser save a file, into its folder of downloads or where it asks for. */
function download(name, bytes, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([bytes], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000); // the browser may still be reading it
}
