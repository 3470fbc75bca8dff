// The form of a CSV: its separator, its header and its decimal separator; and the fields of a record.

export const SEPARATORS = [",", ";", "\t", "|"];
const HEAD_BYTES = 256 * 1024;
const COMMA = /^[+-]?(\d{1,3}(\.\d{3})+|\d+),\d+$/;
const POINT = /^[+-]?\d*\.\d+$/;
const GROUPS = /^[+-]?\d{1,3}(\.\d{3})+$/;

/** A file that can't be read as a table. */
export class FileError extends Error {
  constructor(message) {
    super(message);
    this.title = "The file can't be read";
  }
}

/** Return the fields of a record. */
export function parseRecord(text, delimiter = ",") {
  const fields = [];
  let at = 0;
  for (;;) {
    let field = "";
    if (text[at] === '"') {
      for (at++; at < text.length; at++) {
        if (text[at] !== '"') field += text[at];
        else if (text[at + 1] === '"') field += text[at++];
        else break;
      }
      at++;
    }
    const end = text.indexOf(delimiter, at);
    field += end < 0 ? text.slice(at) : text.slice(at, end);
    fields.push(field);
    if (end < 0) return fields;
    at = end + 1;
  }
}

/** Return the records of an answer of the service, which ends them with LF and quotes fields only where necessary. */
export function* splitRecords(text) {
  let start = 0;
  while (start < text.length) {
    let end = text.indexOf("\n", start);
    if (end < 0) end = text.length;
    // An odd number of quotes: the line break is inside a field.
    while (end < text.length && countQuotes(text, start, end) % 2 === 1) {
      end = text.indexOf("\n", end + 1);
      if (end < 0) end = text.length;
    }
    yield text.slice(start, end);
    start = end + 1;
  }
}

function countQuotes(text, start, end) {
  let count = 0;
  for (let at = text.indexOf('"', start); at >= 0 && at < end; at = text.indexOf('"', at + 1)) count++;
  return count;
}

/** Write a field as the service does. */
export const writeField = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

/**
 * Find the header of a table.
 *
 * @param {Uint8Array} head  The first bytes.
 * @param {string[]} wanted  The columns of the model.
 * @returns The separator, the names, the bytes of the header with what is above it, and the line of the first record.
 */
export function readForm(head, wanted) {
  const text = new TextDecoder("latin1").decode(head.slice(0, HEAD_BYTES));
  const lines = text.split(/(?<=\r\n|\n|\r(?!\n))/);
  let above = 0;
  let told = null;
  for (const [number, line] of lines.entries()) {
    const content = line.trim();
    const separator = /^sep=(.)$/.exec(content);
    if (separator && told === null) told = separator[1];
    if (content === "" || separator || (content.startsWith("#") && !hasNames(line, wanted))) {
      above += line.length;
      continue;
    }
    const bytes = head.slice(above, above + line.length);
    const delimiter = told ?? choose(decode(bytes), wanted);
    const names = parseRecord(decode(bytes).replace(/[\r\n]+$/, ""), delimiter).map((name) => name.trim().normalize("NFC"));
    const prefix = told === null ? "" : `sep=${told}\n`;
    return { delimiter, names, header: withBreak(prefix, bytes), start: above + line.length, line: number + 2 };
  }
  throw new FileError("It is empty, without a header.");
}

const decode = (bytes) => new TextDecoder().decode(bytes);
const hasNames = (line, wanted) => SEPARATORS.some((mark) => line.split(mark).some((name) => wanted.includes(name.trim())));

/** The separator under which the header has most of the wanted columns, otherwise the one that gives most fields. */
function choose(line, wanted) {
  const rank = (mark) => {
    const names = parseRecord(line.trim(), mark).map((name) => name.trim().normalize("NFC"));
    return names.filter((name) => wanted.includes(name)).length * 1e6 + names.length;
  };
  return SEPARATORS.reduce((best, mark) => (rank(mark) > rank(best) ? mark : best));
}

function withBreak(prefix, bytes) {
  const isEnded = bytes.at(-1) === 10 || bytes.at(-1) === 13;
  return new Uint8Array([...new TextEncoder().encode(prefix), ...bytes, ...(isEnded ? [] : [10])]);
}

/**
 * Find the decimal separator of the numbers in the first records; "" if their cells leave it open, or disagree, so that
 * the service decides. All pieces must be read alike.
 */
export function findDecimal(records, form, numeric) {
  const places = form.names.flatMap((name, place) => (numeric.has(name) ? [place] : []));
  const found = new Set();
  let isOpen = false;
  for (const fields of records) {
    for (const place of places) {
      const cell = (fields[place] ?? "").trim();
      if (COMMA.test(cell)) found.add(",");
      else if (GROUPS.test(cell)) isOpen = true;
      else if (POINT.test(cell)) found.add(".");
    }
  }
  if (found.size === 1) return [...found][0];
  return found.size === 0 && (form.delimiter === "," || !isOpen) ? "." : "";
}
