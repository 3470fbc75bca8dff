// Numbers and dates as people read them. The page is in English, so are its numbers.

// Written without Intl where that is possible: each of its formats costs milliseconds when it is made.

const GROUPS = /\B(?=(\d{3})+$)/g;

/** A number with at most so many decimals, without trailing zeros, and with commas between thousands. */
function group(value, decimals) {
  const [whole, part] = Math.abs(value).toFixed(decimals).split(".");
  const rest = part?.replace(/0+$/, "");
  const text = whole.replace(GROUPS, ",") + (rest ? `.${rest}` : "");
  return value < 0 && /[1-9]/.test(text) ? `-${text}` : text;
}

export const formatNumber = (value) => (Math.abs(value) < 1e15 ? group(value, 2) : String(value));
export const formatCount = (value) => group(value, 0);

let short = null;

/** A number with four significant digits, and a short word for millions and more, as on an axis. */
export function formatRough(value) {
  if (Math.abs(value) < 1e6) return group(Number(value.toPrecision(4)), 12);
  short ??= new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
  return short.format(value);
}

/** A probability or share, with one decimal. */
export const formatPercent = (value) => `${group1(value * 100)}%`;

/** A share without decimals where it has none, for axes and thresholds. */
export const formatShare = (value) => (Math.abs(value * 100 - Math.round(value * 100)) < 1e-9 ? `${Math.round(value * 100)}%` : formatPercent(value));

/** A part of a probability in percentage points, with its sign. */
export function formatPoints(value) {
  const text = group1(Math.abs(value * 100));
  return text === "0.0" ? text : `${value < 0 ? "\u2212" : "+"}${text}`;
}

/** One decimal; half a unit is rounded up, whatever its binary form. */
const group1 = (value) => (Math.round(value * 10 + 1e-9) / 10).toFixed(1);

/** Seconds with a unit that suits them. */
export function formatSeconds(seconds) {
  if (!Number.isFinite(seconds)) return "–";
  if (seconds < 1e-3) return `${formatCount(seconds * 1e6)} µs`;
  return seconds < 1 ? `${formatNumber(seconds * 1e3)} ms` : `${formatNumber(seconds)} s`;
}

/** A time of day or date from an ISO 8601 text, in the reader's time zone. */
export function formatTime(text) {
  const time = new Date(text);
  return Number.isNaN(time.getTime()) ? text : time.toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });
}

/** The time of day of seconds since 1970, in the reader's time zone. */
export const formatClock = (seconds) => new Date(seconds * 1000).toLocaleTimeString("en-GB");

const DAY = 86_400_000;
export const daysToDate = (days) => new Date(days * DAY).toISOString().slice(0, 10);
export const dateToDays = (text) => Math.floor(Date.parse(`${text}T00:00:00Z`) / DAY);

/** "1 customer", "2 customers". */
export const count = (number, noun) => `${formatCount(number)} ${noun}${number === 1 ? "" : "s"}`;
