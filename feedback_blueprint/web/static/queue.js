// Votes on their way: one is kept, and sent again, until the server has acknowledged or refused it.
// On a server that renders pages there is no document: the import then does nothing.

const SERVED_AT = /^(https?:\/\/[^?#]+\/feedback)\/static\/queue\.js/;
const REQUEST_TIMEOUT = 10_000; // milliseconds, as all times here
const FIRST_PAUSE = 500, LONGEST_PAUSE = 60_000;
const WEEK = 7 * 24 * 60 * 60 * 1000; // FEEDBACK_TTL by default
const MOST_IDS = 100; // the blueprint takes no more
const LONGEST_QUERY = 3600; // gunicorn takes a request line of 4094 bytes
const LONGEST_KEPT_ALIVE = 20_000; // browsers limit what they send for a page that is gone

/** Defaults of the page. The address of a bundle does not say where the blueprint is. */
export const defaults = {baseUrl: import.meta.url?.match(SERVED_AT)?.[1] ?? "/feedback"};

export const messageIdOf = ({headers}) => headers.get("X-Message-ID")?.split(/, */).pop() ?? null;

// null, which is refused, and not undefined, which would be a retraction
export const sendFeedback = (vote) => submit({...vote, rating: vote.rating ?? null});

export const retractFeedback = (messageId, options) => submit({...options, messageId});

export async function loadFeedback(messageIds, options) {
  const ids = [...messageIds], query = idQuery(...ids);
  if (!ids.length) return {feedback: [], rateable: []};
  if (ids.length === 1 || ids.length <= MOST_IDS && query.length < LONGEST_QUERY) {
    return (await call(endpointOf(options), "GET", query)).receipt;
  }
  const half = ids.length / 2;
  const [one, two] = await Promise.all([
    loadFeedback(ids.slice(0, half), options),
    loadFeedback(ids.slice(half), options),
  ]);
  return {
    feedback: [...one.feedback, ...two.feedback],
    rateable: [...one.rateable, ...two.rateable],
  };
}

const idQuery = (...ids) => "?" + new URLSearchParams(ids.map((id) => ["message_id", id]));

// Where and how a call goes

export const meta = (name) => document.querySelector(`meta[name=${name}]`)?.content;

/** Where and how a call goes, by its options. Its own result is such options, too. */
export function endpointOf({url, baseUrl, credentials, csrfToken, rater} = {}) {
  const base = baseUrl || meta("feedback-base-url") || defaults.baseUrl;
  return {
    url: url ?? new URL(base, document.baseURI).href,
    credentials: credentials || undefined,
    csrfToken,
    rater: rater ?? meta("feedback-rater"),
  };
}

async function call({url, credentials, csrfToken, rater}, method, query = "", body) {
  const headers = {"Content-Type": "application/json"};
  const token = csrfToken || meta("csrf-token");
  if (token) headers["X-CSRFToken"] = token;
  if (rater != null) headers["X-Feedback-Rater"] = rater; // a login can change any time
  const request = {
    method, headers, body, credentials,
    keepalive: (body?.length ?? 0) <= LONGEST_KEPT_ALIVE,
    signal: AbortSignal.timeout?.(REQUEST_TIMEOUT), // without it the browser decides
  };
  let response, receipt = {};
  try {
    response = await fetch(url + query, request);
    receipt = await response.json() ?? {};
  } catch ({name}) {
    // An answer that is not JSON is a proxy's: its status says what it means.
    if (name !== "SyntaxError") {
      throw failure("The server cannot be reached.", {status: 0, code: "unreachable"});
    }
  }
  // A login page is answered with 200, too.
  const isOurs = method === "GET" ? receipt.rateable : receipt.feedback_id;
  if (response.ok && isOurs) return {receipt, response};
  const {status} = response, {code, detail = "HTTP " + status, errors} = receipt;
  throw failure(errors ? inWords(errors) : detail, {status, code, errors, response});
}

const failure = (message, about) =>
  Object.assign(new Error(message), {name: "FeedbackError"}, about);

// `errors` is an object or a list of errors, or one error as a text.
const inWords = (errors) => errors === Object(errors)
  ? Object.values(errors).map(inWords).join(" ")
  : errors;

/** Whether the blueprint itself refused the vote: no proxy, and no GET after a redirect of the POST. */
const isRefusal = ({code, response}) => !response?.redirected &&
  /^(invalid|too-(large|many-revisions)|unknown-message|(not|malformed)-json)$/.test(code);

const isTemporary = ({status}) => [0, 408, 425, 429].includes(status) || status >= 500;

// Trying again

const busyUntil = {}; // by URL
const sleepers = new Set();

/** Send now what waits to be sent again. */
export const wake = () => sleepers.forEach((resume) => resume());

export async function retry({url}, attempt, whenWaiting) {
  for (let pause = FIRST_PAUSE; ; pause = Math.min(2 * pause, LONGEST_PAUSE)) {
    const rest = busyUntil[url] - Date.now();
    if (rest > 0) await new Promise((resume) => setTimeout(resume, rest));
    try {
      return await attempt();
    } catch (error) {
      if (isRefusal(error) || !isTemporary(error)) throw error;
      whenWaiting?.(error);
      const after = error.response?.headers.get("Retry-After");
      if (after) busyUntil[url] = isNaN(after) ? Date.parse(after) : Date.now() + after * 1000;
      await new Promise((resume) => {
        sleepers.add(resume);
        const wakeUp = () => sleepers.delete(resume) && resume();
        setTimeout(wakeUp, pause * (0.5 + Math.random() / 2));
      });
    }
  }
}

// The queue: in the storage, one entry for each message with a vote under way, by each rater

/** The key of an entry, and of all that shows this message as this rater. */
export const keyOf = ({url, rater}, messageId) =>
  `feedback ${url} ${JSON.stringify(rater)} ${messageId}`;

// Storage can be forbidden, full or broken.
function withStorage(work) {
  try {
    return work(localStorage);
  } catch {}
}

/** The entry, if it is one: others can write there, too. */
export const read = (key) => withStorage((storage) => {
  const entry = JSON.parse(storage.getItem(key));
  return key.endsWith(" " + entry.vote.message_id) ? entry : undefined;
});

const remove = (key) => withStorage((storage) => storage.removeItem(key));

const turns = {}; // by key, for browsers and pages without locks

// One at a time, in all tabs if this is HTTPS. A page without storage is refused locks, too.
function inTurn(key, work) {
  if (withStorage((storage) => storage) && navigator.locks) return navigator.locks.request(key, work);
  return turns[key] = Promise.resolve(turns[key]).then(work, work);
}

// A vote without a rating is a retraction.
export function submit({messageId, rating, category, message, metadata, ...options}) {
  const vote = {message_id: String(messageId), rating, category, message, metadata};
  const endpoint = endpointOf(options), key = keyOf(endpoint, messageId);
  sendLeftovers(endpoint);
  const at = Date.now() + Math.random(); // the fraction tells two votes of one millisecond apart
  const text = JSON.stringify({vote, at}), entry = JSON.parse(text);
  const isStored = withStorage((storage) => {
    try {
      storage.setItem(key, text);
      return true;
    } catch {
      remove(key); // it is full
    }
  });
  notify("sending", key, entry);
  wake(); // an attempt at the vote that this one replaces: it sees this one, and ends
  return inTurn(key, () => deliver(endpoint, key, entry, isStored));
}

const visited = new Set(); // endpoints for which votes of earlier visits were sent

export function sendLeftovers(endpoint) {
  const mine = keyOf(endpoint, "");
  if (visited.has(mine)) return;
  visited.add(mine);
  for (const key of withStorage(Object.keys) ?? []) {
    const entry = key.startsWith(`feedback ${endpoint.url} `) && read(key);
    if (!entry) continue;
    if (key.startsWith(mine)) {
      const isStillThere = () => read(key)?.at === entry.at; // unless another was first
      inTurn(key, () => isStillThere() && deliver(endpoint, key, entry, true)).catch(() => {});
    } else if (entry.at < Date.now() - WEEK) {
      remove(key);
    }
  }
}

async function deliver(endpoint, key, entry, isStored) {
  const {vote} = entry;
  const settle = (name, detail) => {
    if (name === "kept") visited.delete(keyOf(endpoint, "")); // the next vote or element sends it
    else if (read(key)?.at === entry.at) remove(key);
    notify(name, key, entry, detail);
  };
  const attempt = () => {
    // Without locks another tab may have sent it, and a newer one.
    const now = read(key) ?? (isStored && !navigator.locks ? {} : entry);
    if (now.at !== entry.at) {
      throw new DOMException("Replaced by a newer vote", "AbortError");
    }
    return vote.rating === undefined
      ? retract(endpoint, vote.message_id)
      : call(endpoint, "POST", "", JSON.stringify(vote));
  };
  try {
    const answer = await retry(endpoint, attempt, (error) => notify("waiting", key, entry, {error}));
    settle("accepted", answer);
    return answer.receipt;
  } catch (error) {
    settle(isRefusal(error) ? "refused" : "kept", {error});
    throw error;
  }
}

async function retract(endpoint, messageId) {
  const query = idQuery(messageId);
  try {
    return await call(endpoint, "DELETE", query);
  } catch (error) {
    if (error.code !== "unknown-message") throw error;
    // If the message is known, it has no vote (any more).
    const {receipt, response} = await call(endpoint, "GET", query);
    if (!receipt.rateable[0]) throw error;
    return {receipt: {message_id: messageId, status: "unchanged"}, response};
  }
}

// What shows a vote

/** Each shows one message: an `element`, its `key`, and `onVote(name, entry, error)`. */
export const views = new Set();

export const viewsOf = (key) => [...views].filter((view) => view.key === key);

function notify(name, key, entry, detail = {}) {
  const shown = viewsOf(key);
  for (const view of shown) view.onVote(name, entry, detail.error);
  if (name !== "accepted" && name !== "refused") return;
  const {message_id: messageId, ...vote} = entry.vote;
  (shown[0]?.element ?? document).dispatchEvent(new CustomEvent("feedback-" + name, {
    bubbles: true, composed: true, detail: {messageId, ...vote, ...detail},
  }));
}

if (typeof document !== "undefined") {
  addEventListener("online", wake);
  addEventListener("storage", ({key}) => key?.startsWith("feedback ") && wake()); // another tab sent a vote
}
