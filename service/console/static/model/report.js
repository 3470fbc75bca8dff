// The report of the model, in a frame with an origin of its own.

import { html, useEffect, useRef, useState } from "../vendor/htm-preact.js";
import { request } from "../api.js";
import { Failure, download } from "../parts.js";

const FRAME = new URL("../frame.html", import.meta.url).href;

export function Report() {
  const [text, setText] = useState(null);
  const [error, setError] = useState(null);
  const open = (event) => {
    if (event.target.open && text === null) request("model/report").then((answer) => answer.text()).then(setText, setError);
  };
  return html`<details class="card wide document" onToggle=${open}>
    <summary><h2>Report</h2></summary>
    <${Failure} error=${error} />
    ${text !== null && html`<p><button type="button" onClick=${() => download(new Blob([text], { type: "text/html" }), "report.html")}>Download</button></p><${Frame} text=${text} />`}
  </details>`;
}

function Frame({ text }) {
  const frame = useRef(null);
  useEffect(() => {
    const answer = ({ source }) => source === frame.current.contentWindow && source.postMessage(text, "*");
    addEventListener("message", answer);
    frame.current.src = FRAME;
    return () => removeEventListener("message", answer);
  }, [text]);
  return html`<iframe ref=${frame} title="Report of the model" sandbox="allow-scripts" referrerpolicy="no-referrer"></iframe>`;
}
