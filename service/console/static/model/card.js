// The model card: Markdown as headings, paragraphs, lists and tables. Whatever else is in it stays text.

import { html, useMemo, useState } from "../vendor/htm-preact.js";
import { request } from "../api.js";
import { Failure, download } from "../parts.js";

export function ModelCard() {
  const [text, setText] = useState(null);
  const [error, setError] = useState(null);
  const open = (event) => {
    if (event.target.open && text === null) request("model/card").then((answer) => answer.text()).then(setText, setError);
  };
  return html`<details class="card wide document" onToggle=${open}>
    <summary><h2>Model card</h2></summary>
    <${Failure} error=${error} />
    ${text !== null && html`<p><button type="button" onClick=${() => download(new Blob([text], { type: "text/markdown" }), "model_card.md")}>Download</button></p><${Markdown} text=${text} />`}
  </details>`;
}

function Markdown({ text }) {
  const blocks = useMemo(() => splitBlocks(text), [text]);
  return html`<div class="markdown">${blocks.map(showBlock)}</div>`;
}

/** Blocks of lines of the same kind. */
export function splitBlocks(text) {
  const blocks = [];
  let isCode = false;
  for (const line of text.split(/\r?\n/)) {
    if (line.startsWith("```")) {
      isCode = !isCode;
      if (isCode) blocks.push({ kind: "code", lines: [] });
      continue;
    }
    const kind = isCode ? "code" : kindOf(line);
    if (kind === "") blocks.push({ kind: "", lines: [] });
    else if (blocks.at(-1)?.kind === kind && kind !== "heading") blocks.at(-1).lines.push(line);
    else if (kind === "text" && blocks.at(-1)?.kind === "list") blocks.at(-1).lines[blocks.at(-1).lines.length - 1] += ` ${line.trim()}`;
    else blocks.push({ kind, lines: [line] });
  }
  return blocks.filter(({ kind }) => kind);
}

function kindOf(line) {
  if (line.trim() === "") return "";
  if (/^#{1,6} /.test(line)) return "heading";
  if (line.startsWith("|")) return "table";
  return /^\s*[-*] /.test(line) ? "list" : "text";
}

function showBlock({ kind, lines }) {
  if (kind === "code") return html`<pre>${lines.join("\n")}</pre>`;
  if (kind === "heading") return html`<${`h${Math.min(6, lines[0].indexOf(" ") + 2)}`}>${inline(lines[0].replace(/^#+ /, ""))}<//>`;
  if (kind === "list") return html`<ul>${lines.map((line) => html`<li>${inline(line.replace(/^\s*[-*] /, ""))}</li>`)}</ul>`;
  if (kind === "table") return html`<${Rows} lines=${lines} />`;
  return html`<p>${inline(lines.join(" "))}</p>`;
}

const cells = (line) => line.replace(/^\||\|\s*$/g, "").split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));

function Rows({ lines }) {
  const isRuled = lines.length > 1 && /^[|\s:-]+$/.test(lines[1]);
  const body = lines.slice(isRuled ? 2 : 0);
  return html`<div class="table" tabindex="0" role="group" aria-label="Table"><table>
    ${isRuled && html`<thead><tr>${cells(lines[0]).map((cell) => (cell ? html`<th scope="col">${inline(cell)}</th>` : html`<td></td>`))}</tr></thead>`}
    <tbody>${body.map((line) => html`<tr>${cells(line).map((cell) => html`<td>${inline(cell)}</td>`)}</tr>`)}</tbody>
  </table></div>`;
}

/** Code, bold and italic text, and the words of links. */
function inline(text) {
  return text.split(/(`[^`]+`|\*\*[^*]+\*\*|\*[^*\s][^*]*\*|\[[^\]]+\]\([^)]+\))/).map((part) => {
    if (part.startsWith("`") && part.length > 2) return html`<code>${part.slice(1, -1)}</code>`;
    if (part.startsWith("**") && part.length > 4) return html`<b>${part.slice(2, -2)}</b>`;
    if (part.startsWith("*") && part.endsWith("*") && part.length > 2) return html`<em>${part.slice(1, -1)}</em>`;
    return /^\[([^\]]+)\]\([^)]+\)$/.exec(part)?.[1] ?? part;
  });
}
