// Guests only when necessary, from a page's own module:
//
//   import { configure, fetchAsGuest } from "/static/anonusers/guest.js";
//   configure({ clientID: "shop" });
//   await fetchAsGuest("/basket/", { method: "POST", body });   // the first write signs up, reading never does
//
// The session is an HttpOnly cookie: nothing is kept here, and there is no token for a script to steal.

const SAFE = new Set(["GET", "HEAD", "OPTIONS", "TRACE"]);

const config = { clientID: "", endpoint: "", solve: null };
let current = null; // the promise that everybody on this page shares
let key = null; // Idempotency-Key of a sign-up whose answer never came

/**
 * What the server refused: `code` is stable (anonymous_users_disabled, rate_limited …), `status` 0 is no answer. On
 * `guest_gone` the account was deleted: `forgetGuest()`, and the next write signs up afresh, as fetchAsGuest does itself.
 */
export class GuestError extends Error {
  constructor(status, { code = "error", detail = "", challenge = null } = {}, retryAfter = 0) {
    super(detail || code);
    Object.assign(this, { name: "GuestError", status, code, challenge, retryAfter });
  }
}

/**
 * clientID: the application that guests sign up through. endpoint: the server's origin, empty for the page's own.
 * solve: `async (challenge) => solution`, asked when the server wants proof that this is no bot.
 */
export function configure({ clientID, endpoint = "", solve = null }) {
  const server = endpoint.replace(/\/+$/, "");
  if (clientID !== config.clientID || server !== config.endpoint) current = null;
  Object.assign(config, { clientID, endpoint: server, solve });
}

/** Whoever logged out is nobody: the next write asks the server again. */
export function forgetGuest() {
  current = null;
}

/**
 * Be somebody, before the first write: the answer of the sign-up, or null for who is signed in as a regular user.
 * Calls at the same time share one promise, and tabs take turns, so that a double click makes one guest.
 * Rejects with GuestError; the next call tries again.
 */
export function ensureGuest(options) {
  if (options) configure({ ...config, ...options });
  if (!config.clientID) return Promise.reject(new TypeError("guest.js: give the clientID of an application"));
  if (!current) {
    const mine = inTurn(signUp);
    current = mine;
    mine.catch(() => { if (current === mine) current = null; });
  }
  return current;
}

/**
 * `fetch`, as somebody: an unsafe method signs up first. A session that has died meanwhile, or whose guest is gone (401,
 * also with the code `guest_gone`), is replaced once.
 */
export async function fetchAsGuest(url, options = {}) {
  const request = new Request(url, options);
  if (SAFE.has(request.method)) return fetch(request);
  const mine = ensureGuest();
  await mine;
  const again = request.clone(); // a body can be read once only
  const response = await fetch(request);
  if (response.status !== 401) return response;
  if (current === mine) current = null; // somebody else may have asked again already
  await ensureGuest();
  return fetch(again);
}

/** One tab at a time. The cookie that the first one got makes the others' sign-up answer "the same guest". */
function inTurn(work) {
  return navigator.locks ? navigator.locks.request("anonusers-guest", work) : work();
}

async function signUp() {
  try {
    return await post({});
  } catch (error) {
    if (error.code === "user_is_regular") return null;
    if (error.code !== "bot_check_required" || !config.solve) throw error;
    return post({ bot_check: await config.solve(error.challenge) });
  }
}

async function post(more) {
  // The same key goes with a repeated attempt: an answer lost on the way must not leave a second guest behind.
  key ??= [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  let response;
  try {
    response = await fetch(`${config.endpoint}/api/v1/signup/`, {
      method: "POST",
      credentials: config.endpoint ? "include" : "same-origin",
      headers: { Accept: "application/json", "Content-Type": "application/json", "Idempotency-Key": key },
      body: JSON.stringify({ client_id: config.clientID, kind: "cookie", ...more }),
      cache: "no-store",
      redirect: "error",
    });
  } catch {
    throw new GuestError(0, { code: "offline", detail: "The server did not answer." });
  }
  key = null;
  const data = await response.json().catch(() => ({}));
  if (response.ok) return data;
  throw new GuestError(response.status, data, Number(response.headers.get("Retry-After")) || 0);
}
