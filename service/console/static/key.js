// Asks for a key when the service wants one.

import { html, useEffect, useRef, useState } from "./vendor/htm-preact.js";
import { ask, keepKey, readKey } from "./api.js";

/** The question for a key; `onKept` is called when the service has accepted one. */
export function KeyQuestion({ onKept }) {
  const [fault, setFault] = useState(readKey() ? "The service does not accept the key any more." : "");
  const [isAsking, setAsking] = useState(false);
  const field = useRef(null);
  useEffect(() => field.current.focus(), []);

  const submit = async (event) => {
    event.preventDefault();
    keepKey(field.current.value.trim());
    setAsking(true);
    try {
      onKept(await ask("model"));
    } catch (error) {
      keepKey("");
      setFault(error.message);
      setAsking(false);
    }
  };

  return html`<main class="page key" id="main" tabindex="-1">
    <form class="card" onSubmit=${submit}>
      <h1>This service needs a key</h1>
      <p>Enter an API key, or a token of your identity provider. The page keeps it until you close this tab, and sends it to
        this service only.</p>
      <label for="key">Key</label>
      <input id="key" ref=${field} type="password" autocomplete="off" spellcheck=${false} required
        aria-describedby=${fault ? "key-fault" : undefined} aria-invalid=${fault ? "true" : undefined} />
      ${fault && html`<p id="key-fault" class="fault" role="alert">${fault}</p>`}
      <p><button class="main" disabled=${isAsking}>Continue</button></p>
    </form>
  </main>`;
}
