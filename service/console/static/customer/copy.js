// The customer and the question as text, for a link and for scripts.

import { html } from "../vendor/htm-preact.js";
import { readKey } from "../api.js";
import { CopyButton } from "../parts.js";
import { toCustomer, writeLink } from "../features.js";

export function Copies({ model, features, draft }) {
  const customer = () => toCustomer(features, draft, model.schema.identifier);
  const link = () => {
    const hash = writeLink(draft);
    history.replaceState(null, "", hash);
    return new URL(hash, location.href).href;
  };
  return html`<p class="copies" role="group" aria-label="Copy"><span aria-hidden="true">Copy</span>
    <${CopyButton} label="link" make=${link} />
    <${CopyButton} label="curl" make=${() => asCurl(customer())} />
    <${CopyButton} label="Python" make=${() => asPython(customer())} />
    <${CopyButton} label="JSON" make=${() => JSON.stringify(customer(), null, 2)} />
  </p>`;
}

const address = () => new URL("predict?reasons=4", document.baseURI).href;
const quote = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** A shell command. The key is read from a variable, so that it is in no clipboard. */
export function asCurl(customer) {
  const key = readKey() ? ' \\\n  -H "Authorization: Bearer $CHURN_KEY"' : "";
  return `curl -s ${quote(address())} -H 'Content-Type: application/json'${key} \\\n  -d ${quote(JSON.stringify(customer))}`;
}

/** A program without further packages. Numbers and texts are written alike in JSON and Python. */
export function asPython(customer) {
  const key = readKey() ? ', "Authorization": f"Bearer {os.environ[\'CHURN_KEY\']}"' : "";
  return `import json
${key ? "import os\n" : ""}from urllib.request import Request, urlopen

customer = ${JSON.stringify(customer, null, 4)}
headers = {"Content-Type": "application/json"${key}}
request = Request(${JSON.stringify(address())}, json.dumps(customer).encode(), headers)
print(json.load(urlopen(request)))
`;
}
