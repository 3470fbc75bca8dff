// Requests to the service. The key is kept for this tab of the browser only, and sent as the API expects it.

const KEY = "churn-key";
const listeners = new Set();

/** An answer that is not a success, or no answer; `problem` is the RFC 9457 document, if there is one. */
export class ApiError extends Error {
  constructor(status, problem, fallback) {
    super(problem?.detail || fallback);
    this.status = status;
    this.problem = problem || {};
    this.kind = (this.problem.type || "").replace("urn:churn:", "");
    this.title = this.problem.title || fallback;
  }
}

/** What this service offers beyond scoring: "metrics", "admin", "records"; and "keys" if it wants one. */
export const offers = new Set(document.querySelector("meta[name=churn-parts]").content.split(" ").filter(Boolean));

/** The key, if the service wants one; the first look into the storage of a tab takes as long as drawing a card. */
export const readKey = () => (offers.has("keys") && sessionStorage.getItem(KEY)) || "";

export function keepKey(key) {
  if (key) sessionStorage.setItem(KEY, key);
  else sessionStorage.removeItem(KEY);
}

/** Call `listener` with the error whenever the service asks for a key; returns a function that ends this. */
export function onKeyNeeded(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Send a request, and return its response if it is a success. */
export async function request(path, { method = "GET", body, type = "application/json", signal, headers } = {}) {
  const key = readKey();
  const all = { ...(body === undefined ? {} : { "Content-Type": type }), ...(key ? { Authorization: `Bearer ${key}` } : {}), ...headers };
  let response;
  try {
    response = await fetch(new URL(path, document.baseURI), { method, body, headers: all, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, null, "The service can't be reached.");
  }
  if (response.ok) return response;
  const error = await readProblem(response);
  if (response.status === 401) listeners.forEach((listener) => listener(error));
  throw error;
}

async function readProblem(response) {
  const problem = await response.json().catch(() => null);
  return new ApiError(response.status, problem, `The service answered with status ${response.status}.`);
}

/** Return the JSON of an answer. */
export const ask = async (path, options) => (await request(path, options)).json();

/** Send an object as JSON, and return the JSON of the answer. */
export const send = (path, content, options) =>
  ask(path, { method: "POST", body: JSON.stringify(content), ...options });

/** Return whether a route answers this key; asks only if the service has the part that the route belongs to. */
export async function mayUse(part, path) {
  if (!offers.has(part)) return false;
  try {
    await request(path, { method: "HEAD" });
    return true;
  } catch (error) {
    return error.status !== 403 && error.status !== 404 && error.status !== 401;
  }
}
