// Cuts a CSV into pieces of whole records, by the rules of the service (docs/tables.md): a quote is special only at the
// beginning of a field; a quoted field that is longer than LONGEST_QUOTED is not closed, and only its line counts.

const CR = 13, LF = 10, QUOTE = 34;
const LONGEST_QUOTED = 1 << 20;
export const PIECE_BYTES = 256 * 1024;

/** Cuts what is pushed into pieces: `{ bytes, lines }` with the line on which each record begins. */
export class Splitter {
  /**
   * @param {number} delimiter  A byte.
   * @param {number} line  The line on which the first record begins, from 1.
   */
  constructor(delimiter, line, pieceBytes = PIECE_BYTES) {
    this.delimiter = delimiter;
    this.line = line;
    this.pieceBytes = pieceBytes;
    this.held = new Uint8Array(0);
  }

  /** Add bytes, and return the pieces that are complete. */
  push(bytes) {
    this.held = join(this.held, bytes);
    return this.held.length >= this.pieceBytes ? this.cut(false) : [];
  }

  /** Return what is left, at the end of the file. */
  end() {
    return this.cut(true);
  }

  cut(isLast) {
    const pieces = [];
    let begin = 0;
    let at = 0;
    let lines = [];
    while (at < this.held.length) {
      const found = this.findEnd(at, isLast);
      if (found === null) break;
      if (!found.isBlank) lines.push(this.line);
      this.line += found.lines;
      at = found.end;
      if (at - begin >= this.pieceBytes) {
        pieces.push({ bytes: this.held.slice(begin, at), lines });
        begin = at;
        lines = [];
      }
    }
    if (at > begin) pieces.push({ bytes: this.held.slice(begin, at), lines });
    this.held = this.held.slice(at);
    return pieces.filter((piece) => piece.lines.length > 0);
  }

  /** Return where the record at an offset ends, and how many lines it has; null if more bytes are needed. */
  findEnd(start, isLast) {
    const data = this.held;
    let isFieldStart = true;
    let lines = 1;
    for (let at = start; at < data.length; at++) {
      const byte = data[at];
      if (byte === LF || byte === CR) {
        if (byte === CR && at + 1 === data.length && !isLast) return null; // perhaps half of a line break
        return { end: at + (byte === CR && data[at + 1] === LF ? 2 : 1), lines, isBlank: at === start };
      }
      if (byte === QUOTE && isFieldStart) {
        const closing = this.findClosing(at + 1, isLast);
        if (closing === null) return null;
        if (closing > 0) {
          lines += countLines(data, at, closing);
          at = closing;
        }
      }
      isFieldStart = byte === this.delimiter;
    }
    return isLast ? { end: data.length, lines, isBlank: false } : null;
  }

  /** Return the offset of the quote that closes a field; 0 if none does, null if more bytes are needed. */
  findClosing(start, isLast) {
    const data = this.held;
    for (let at = data.indexOf(QUOTE, start); at >= 0; at = data.indexOf(QUOTE, at + 2)) {
      if (at - start > LONGEST_QUOTED) return 0;
      if (at + 1 === data.length && !isLast) return null;
      if (data[at + 1] !== QUOTE) return at;
    }
    return isLast || data.length - start > LONGEST_QUOTED ? 0 : null;
  }
}

function join(first, second) {
  if (first.length === 0) return second;
  const all = new Uint8Array(first.length + second.length);
  all.set(first);
  all.set(second, first.length);
  return all;
}

/** Line breaks between two offsets; CR LF is one. */
function countLines(data, start, end) {
  let lines = 0;
  for (let at = start; at < end; at++) if (data[at] === LF || (data[at] === CR && data[at + 1] !== LF)) lines++;
  return lines;
}
