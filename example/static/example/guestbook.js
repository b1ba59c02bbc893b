// The guestbook's page: plain JavaScript on the native API, without any library.
// Everything that people wrote goes into the page as textContent, never as HTML.

const page = document.getElementById("guestbook").dataset;
const byId = (id) => document.getElementById(id);
const TEXT_MAX = Number(page.textMax);
const RADIOS = document.querySelectorAll("input[name=kind]");
const CLIENT = { cookie: page.cookieClient, token: page.tokenClient };
const KEY = { kind: "guestbook.kind", refresh: "guestbook.refresh_token", known: "guestbook.known." };

// localStorage may be forbidden; then the page works, and forgets at the next load.
const memory = new Map();
const store = {
  get(key) { try { return localStorage.getItem(key); } catch { return memory.get(key) ?? null; } },
  set(key, value) { try { localStorage.setItem(key, value); } catch { memory.set(key, value); } },
  drop(key) { try { localStorage.removeItem(key); } catch { memory.delete(key); } },
};

const state = {
  kind: store.get(KEY.kind) === "token" ? "token" : "cookie",
  me: null, // the answer of userinfo, or null for a visitor
  access: null, // {token, until}: only in memory
  signupKey: null, // Idempotency-Key of a sign-up whose answer never came
  waitUntil: 0, // no sign-up before this moment
};

// ---------------------------------------------------------------------------------------------- asking the server

class Problem extends Error {
  constructor(status, code, detail, retryAfter = 0) {
    super(detail);
    Object.assign(this, { status, code, retryAfter });
  }
}

async function send(method, path, { body, headers = {} } = {}) {
  const started = performance.now();
  const unsafe = method !== "GET";
  let response;
  try {
    response = await fetch(path, {
      method,
      // The token kind must not borrow the identity of the cookie.
      credentials: state.kind === "cookie" ? "same-origin" : "omit",
      headers: { Accept: "application/json", ...(unsafe && { "Content-Type": "application/json" }), ...headers },
      body: body && JSON.stringify(body),
      cache: "no-store",
      redirect: "error",
    });
  } catch {
    logCall(method, path, "no answer", started);
    throw new Problem(0, "offline", "The server did not answer.");
  }
  logCall(method, path, response.status, started);
  const data = await response.json().catch(() => null);
  if (response.ok) return data;
  const detail = data?.detail ?? data?.text?.[0] ?? response.statusText;
  throw new Problem(response.status, data?.code ?? "error", String(detail), Number(response.headers.get("Retry-After")) || 0);
}

/** Ask as the guest that this page knows, if any. A token that has just died is renewed once. */
async function ask(method, path, options = {}) {
  if (state.kind === "cookie") return send(method, path, options);
  const token = await accessToken();
  const bearer = (value) => ({ ...options, headers: { ...options.headers, ...(value && { Authorization: `Bearer ${value}` }) } });
  try {
    return await send(method, path, bearer(token));
  } catch (problem) {
    if (problem.status !== 401 || !token) throw problem;
    state.access = null;
    return send(method, path, bearer(await accessToken()));
  }
}

function keepTokens({ access_token: token, expires_in: seconds, refresh_token: refreshToken }) {
  state.access = { token, until: Date.now() + seconds * 900 }; // renewed after 90 % of its life
  if (refreshToken) store.set(KEY.refresh, refreshToken);
}

/** An access token that still lives, or null for a visitor. Tabs take turns, so that they do not renew twice. */
async function accessToken() {
  if (!store.get(KEY.refresh)) return null;
  const renew = async () => {
    const refreshToken = store.get(KEY.refresh);
    if (!refreshToken) return null;
    if (state.access && Date.now() < state.access.until) return state.access.token;
    try {
      keepTokens(await send("POST", `${page.api}refresh/`, { body: { client_id: CLIENT.token, refresh_token: refreshToken } }));
      return state.access.token;
    } catch (problem) {
      if (problem.code !== "invalid_token") throw problem; // a guest's only key is not dropped on a guess
      state.access = null;
      store.drop(KEY.refresh);
      return null;
    }
  };
  return navigator.locks ? navigator.locks.request("guestbook-refresh", renew) : renew();
}

const newKey = () => [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

/**
 * One tab at a time, and the others become the same guest: they repeat the request under the same key, and get its
 * answer. What a tab writes into localStorage reaches them a moment too late; the name of a lock is there at once.
 */
async function signUp() {
  if (!navigator.locks) return signUpNow();
  const name = `guestbook-signup-${state.kind}`;
  return navigator.locks.request(name, async () => {
    const { held } = await navigator.locks.query();
    const told = held.find((lock) => lock.name.startsWith(`${name} `));
    state.signupKey = told ? told.name.split(" ")[1] : state.signupKey ?? newKey();
    if (!told) navigator.locks.request(`${name} ${state.signupKey}`, () => new Promise((done) => { setTimeout(done, 5000); }));
    await signUpNow();
  });
}

async function signUpNow() {
  // The same key goes with a repeated attempt: an answer lost on the way must not leave a second guest behind.
  state.signupKey ??= newKey();
  const body = { client_id: CLIENT[state.kind], kind: state.kind };
  const refreshToken = state.kind === "token" && store.get(KEY.refresh);
  if (refreshToken) body.refresh_token = refreshToken;
  try {
    const answer = await send("POST", `${page.api}signup/`, { body, headers: { "Idempotency-Key": state.signupKey } });
    state.signupKey = null;
    if (state.kind === "token") keepTokens(answer);
    store.set(KEY.known + state.kind, "1");
  } catch (problem) {
    if (problem.status) state.signupKey = null;
    const died = problem.code === "invalid_token" && refreshToken; // since we looked
    if (!died && problem.code !== "idempotency_key_spent") throw problem;
    if (died) store.drop(KEY.refresh);
    await signUpNow(); // begin anew, under a new key
  }
}

// ------------------------------------------------------------------------------------------------------- showing

function logCall(method, path, result, started) {
  const line = document.createElement("li");
  const code = document.createElement("code");
  code.textContent = `${method} ${path}`;
  const answer = document.createElement("span");
  answer.textContent = `${result} · ${Math.round(performance.now() - started)} ms`;
  line.append(code, answer);
  byId("log").prepend(line);
  while (byId("log").children.length > 20) byId("log").lastElementChild.remove();
}

/** Say something above the form. One message at a time: the newest is the one that matters. */
function notify(tone, title, text = "") {
  const notice = byId("notice-template").content.cloneNode(true).firstElementChild;
  notice.classList.add(`notice--${tone}`);
  for (const icon of notice.querySelectorAll(`svg[data-tone]:not([data-tone=${tone}])`)) icon.remove();
  notice.querySelector("strong").textContent = title;
  notice.querySelector("span").textContent = text;
  notice.querySelector("button").addEventListener("click", () => {
    notice.remove();
    byId("text").focus();
  });
  byId("notices").replaceChildren(notice);
}

const hush = () => byId("notices").replaceChildren();

const UNITS = [["year", 31536000], ["month", 2592000], ["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
const relative = new Intl.RelativeTimeFormat("en", { numeric: "always" });
const exact = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "long" });

function inWords(date) {
  const seconds = (date - Date.now()) / 1000;
  if (Math.abs(seconds) < 45) return seconds > 0 ? "in a moment" : "just now";
  const [unit, size] = UNITS.find(([, size]) => Math.abs(seconds) >= size * 0.95);
  return relative.format(Math.round(seconds / size), unit);
}

function showTime(element, iso) {
  if (iso) element.dateTime = iso;
  const date = new Date(element.dateTime);
  element.textContent = inWords(date);
  element.title = exact.format(date);
}

function showComment(comment) {
  const item = byId("comment-template").content.cloneNode(true).firstElementChild;
  const [head, button] = [item.querySelector(".comment__head"), item.querySelector("button")];
  item.dataset.tint = comment.tint;
  item.querySelector(".avatar").textContent = comment.author.split(" ")[1]?.slice(0, 2) ?? "··";
  head.querySelector("strong").textContent = comment.author;
  head.querySelector(".badge").hidden = !comment.mine;
  showTime(head.querySelector("time"), comment.created_at);
  item.querySelector(".comment__text").textContent = comment.text;
  button.hidden = !comment.mine;
  button.setAttribute("aria-label", `Delete your comment “${comment.text.slice(0, 40)}”`);
  button.addEventListener("click", () => remove(comment, item));
  return item;
}

function showComments(comments) {
  byId("comments").replaceChildren(...comments.map(showComment));
  byId("empty").hidden = comments.length > 0;
}

const KIND_NAME = { cookie: "Cookie", token: "Token" };
const KIND_HELP = {
  cookie: "An HttpOnly cookie that scripts cannot read. Each kind is a sign-in of its own: switching logs nobody out.",
  token: "An access token in memory and a refresh token in localStorage. Each kind is a sign-in of its own: switching logs nobody out.",
};

function showIdentity() {
  const { me } = state;
  const name = !me ? "visitor" : me.is_anonymous ? "guest" : "regular";
  byId("state").className = { visitor: "badge badge--visitor", guest: "badge", regular: "badge badge--accent" }[name];
  byId("state").hidden = false;
  byId("state").textContent = { visitor: "Visitor", guest: "Guest", regular: "Regular" }[name];
  byId("identity-text").textContent = {
    visitor: "Nobody knows you yet: no account, no cookie, no row in the database. That changes with your first comment.",
    guest: "You are a real user without a password. This browser is the only key to you, until you keep your account.",
    regular: "You are a regular user: you can sign in anywhere, and you are still the same person.",
  }[name];
  byId("facts").hidden = byId("logout").hidden = byId("sessions-card").hidden = !me;
  // The pages behind these know the cookie, not the tokens of this page.
  const cookie = state.kind === "cookie";
  byId("keep").hidden = !cookie || name !== "guest";
  byId("account").hidden = !cookie || name !== "regular";
  byId("login").hidden = !cookie || name !== "visitor";
  byId("kind-help").textContent = KIND_HELP[state.kind];
  document.querySelector(`input[name=kind][value=${state.kind}]`).checked = true;
  if (me) {
    byId("sub").textContent = me.sub;
    showTime(byId("signed-up"), me.created_at);
    byId("session-kind").textContent = `${KIND_NAME[me.session.kind] ?? me.session.kind}${me.session.client_id ? ` · ${me.session.client_id}` : ""}`;
    showTime(byId("expires"), me.session.expires_at);
  }
  showButton();
}

function showButton() {
  const seconds = state.me ? 0 : Math.ceil((state.waitUntil - Date.now()) / 1000);
  const button = byId("post");
  if (button.getAttribute("aria-busy") === "true") return;
  button.disabled = seconds > 0;
  button.textContent = seconds > 0 ? `Again in ${seconds} s` : state.me ? "Post" : "Post as a guest";
  if (seconds > 0) setTimeout(showButton, 1000);
}

function showSessions(sessions) {
  byId("sessions").replaceChildren(...sessions.map((session) => {
    const item = byId("session-template").content.cloneNode(true).firstElementChild;
    const name = `${KIND_NAME[session.kind] ?? session.kind}${session.client_id ? ` · ${session.client_id}` : ""}`;
    item.querySelector("strong").textContent = name;
    item.querySelector(".badge").hidden = !session.current;
    showTime(item.querySelector("[data-what=since]"), session.created_at);
    showTime(item.querySelector("[data-what=used]"), session.last_used_at);
    const button = item.querySelector("button");
    button.hidden = session.current;
    button.setAttribute("aria-label", `Sign out there: ${name}, since ${inWords(new Date(session.created_at))}`);
    button.addEventListener("click", () => act(button, async () => {
      await ask("DELETE", `${page.api}sessions/${encodeURIComponent(session.id)}/`);
      await load();
      notify("success", "Signed out there.");
    }));
    return item;
  }));
}

function question(title, text, yes, no) {
  byId("question-title").textContent = title;
  byId("question-text").textContent = text;
  byId("question-yes").textContent = yes;
  byId("question-no").textContent = no;
  const dialog = byId("question");
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

// -------------------------------------------------------------------------------------------------------- acting

function explain(problem) {
  if (problem.code === "anonymous_users_disabled") {
    notify("warning", "New guests are not let in right now.",
      "The operator has switched anonymous users off. You can go on reading, and what you typed is still here.");
  } else if (problem.status === 429) {
    const seconds = Math.max(1, problem.retryAfter);
    state.waitUntil = Date.now() + seconds * 1000;
    notify("warning", "Too many new guests from your network.",
      `Try again in ${seconds} ${seconds === 1 ? "second" : "seconds"}. What you typed is still here.`);
  } else if (problem.code === "user_is_regular") {
    notify("info", "You are signed in as a regular user.", "Reload the page and post as yourself.");
  } else if (problem.status === 0) {
    notify("danger", "The server did not answer.", "Nothing was lost. Check your connection and try again.");
  } else {
    notify("danger", "That did not work.", problem.message);
  }
}

/** Run `what` while `button` is busy, and say what went wrong. */
async function act(button, what, busy = "") {
  if (button.getAttribute("aria-busy") === "true") return;
  const label = button.textContent;
  const focused = document.activeElement === button;
  button.setAttribute("aria-busy", "true");
  button.disabled = true;
  for (const radio of RADIOS) radio.disabled = true; // the kind stays what it was when this began
  if (busy) button.textContent = busy;
  try {
    await what();
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    explain(problem);
  } finally {
    button.removeAttribute("aria-busy");
    button.disabled = false;
    for (const radio of RADIOS) radio.disabled = false;
    if (busy) button.textContent = label;
    showButton();
    if (focused && document.activeElement === document.body) button.focus(); // a disabled button loses it
  }
}

let loading = 0;

/** Ask who we are and what was written, and show both. */
async function load() {
  const turn = (loading += 1);
  byId("identity").setAttribute("aria-busy", "true");
  try {
    await loadOnce(() => turn === loading);
  } finally {
    if (turn === loading) byId("identity").removeAttribute("aria-busy");
  }
}

async function loadOnce(isLatest) {
  let { signed_in: signedIn, comments } = await ask("GET", page.comments);
  if (!signedIn && state.access) {
    // A dead access token reads as no token at all. The refresh token may still live; else it is dropped here.
    state.access = null;
    ({ signed_in: signedIn, comments } = await ask("GET", page.comments));
  }
  let me = null;
  let sessions = [];
  if (signedIn) {
    try {
      [me, { sessions }] = await Promise.all([ask("GET", `${page.api}userinfo/`), ask("GET", `${page.api}sessions/`)]);
    } catch (problem) {
      if (problem.status !== 401) throw problem; // it ended between two requests: an answer, not a failure
    }
  }
  if (!isLatest()) return; // a later load knows better
  const known = KEY.known + state.kind;
  if (!me && store.get(known)) {
    notify("info", "Your session is over.", "You are a visitor again. The next comment makes you a new guest.");
    store.drop(known);
  }
  if (me) store.set(known, "1");
  state.me = me;
  showComments(comments);
  showSessions(sessions);
  showIdentity();
}

function textError(message) {
  byId("text-error").querySelector("span").textContent = message;
  byId("text-error").hidden = !message;
  byId("text").setAttribute("aria-invalid", String(Boolean(message)));
}

function count() {
  const length = [...byId("text").value.trim()].length;
  byId("text-count").textContent = length;
  byId("text-help").classList.toggle("is-over", length > TEXT_MAX);
  return length;
}

async function post(event) {
  event.preventDefault();
  if (byId("post").disabled) return;
  const length = count();
  if (length === 0 || length > TEXT_MAX) {
    textError(length ? `Make it shorter by ${length - TEXT_MAX}: at most ${TEXT_MAX} characters fit.` : "Write something first.");
    byId("text").focus();
    return;
  }
  textError("");
  await act(byId("post"), async () => {
    const wasVisitor = !state.me;
    const text = byId("text").value.trim();
    if (wasVisitor) await signUp();
    try {
      await ask("POST", page.comments, { body: { text } });
    } catch (problem) {
      if (wasVisitor || problem.status === 401) await load();
      if (problem.status === 401 && !state.me) return; // and load() has said so
      throw problem;
    }
    byId("text").value = "";
    count();
    hush();
    await load();
    if (wasVisitor) notify("success", "You are a guest now.", "Reload or come back tomorrow: you are still you.");
  }, "Posting…");
}

async function remove(comment, item) {
  if (!await question("Delete your comment?", "It goes for everybody and cannot be brought back.", "Delete it", "Keep it")) return;
  await act(item.querySelector("button"), async () => {
    try {
      await ask("DELETE", `${page.comments}${comment.id}/`);
    } catch (problem) {
      if (![401, 404].includes(problem.status)) throw problem; // gone already, or no longer ours: show what is
    }
    await load();
    byId("comments").focus();
  });
}

async function logOut() {
  const guest = state.me?.is_anonymous;
  const sure = await question(
    "Log out?",
    guest
      ? "You are a guest: there is no password that brings you back. Your comments stay, and nobody can delete them any more."
      : "You can sign in again whenever you like.",
    guest ? "Log out for good" : "Log out",
    "Stay",
  );
  if (!sure) return;
  await act(byId("logout"), async () => {
    try {
      await ask("POST", `${page.api}logout/`, { body: {} });
    } catch (problem) {
      if (problem.status !== 401) throw problem; // it was over already
    }
    state.access = null;
    if (state.kind === "token") store.drop(KEY.refresh);
    store.drop(KEY.known + state.kind);
    await load();
    notify("success", "You are logged out.", "You are a visitor again.");
    byId("text").focus();
  });
}

async function copySub() {
  try {
    await navigator.clipboard.writeText(state.me.sub);
    byId("copy").textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(byId("sub"));
    byId("copy").textContent = "Selected";
  }
  setTimeout(() => { byId("copy").textContent = "Copy"; }, 2000);
}

const reload = () => load().catch((problem) => {
  if (!(problem instanceof Problem)) throw problem;
  showIdentity();
  explain(problem);
});

byId("composer").addEventListener("submit", post);
byId("text").addEventListener("input", () => { count(); textError(""); });
byId("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) byId("composer").requestSubmit();
});
byId("logout").addEventListener("click", logOut);
byId("copy").addEventListener("click", copySub);
for (const radio of RADIOS) {
  radio.addEventListener("change", () => {
    Object.assign(state, { kind: radio.value, me: null, access: null, signupKey: null });
    store.set(KEY.kind, state.kind);
    hush();
    reload();
  });
}
// Another tab has signed up, logged out or renewed.
addEventListener("storage", ({ key }) => {
  if (key === null || key.startsWith(KEY.known)) reload();
});
const wide = matchMedia("(min-width: 860px)");
const unfold = () => { byId("more").open = wide.matches; };
wide.addEventListener("change", unfold);
unfold();
setInterval(() => document.querySelectorAll("time[datetime]").forEach((element) => showTime(element)), 30000);

count();
await reload();
document.body.dataset.ready = "yes"; // for tests: everything has been shown once
