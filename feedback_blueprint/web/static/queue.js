// Votes on their way: one is kept, and sent again, until the server has acknowledged or refused it.
// Where there is no document, as on a server that renders pages, importing this does nothing.

const SERVED_AT = /^(https?:\/\/[^?#]+\/feedback)\/static\/queue\.js/;
const REQUEST_TIMEOUT = 10_000; // as all times here in milliseconds
const FIRST_PAUSE = 500, LONGEST_PAUSE = 60_000;
const WEEK = 7 * 24 * 60 * 60 * 1000; // FEEDBACK_TTL by default
const MOST_IDS = 100, LONGEST_QUERY = 3600; // the server's, and gunicorn's lines of 4094 bytes
const LONGEST_KEPT_ALIVE = 20_000; // browsers limit it

/** What holds for the page. A bundle has no address that would tell of the blueprint's. */
export const defaults = {baseUrl: import.meta.url?.match(SERVED_AT)?.[1] ?? "/feedback"};

export const messageIdOf = ({headers}) => headers.get("X-Message-ID")?.split(/, */).pop() ?? null;

export const sendFeedback = (vote) => submit({...vote, rating: vote.rating ?? null});

export const retractFeedback = (messageId, options) => submit({...options, messageId});

export async function loadFeedback(messageIds, options) {
  const ids = [...messageIds], query = idQuery(...ids);
  if (!ids.length) return {feedback: [], rateable: []};
  if (ids.length === 1 || ids.length <= MOST_IDS && query.length < LONGEST_QUERY) {
    return (await call(placeOf(options), "GET", query)).receipt;
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

/** What a call needs of the options; given one of its own results, the same. */
export function placeOf({url, baseUrl, credentials, csrfToken, rater} = {}) {
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
    keepalive: !(body?.length > LONGEST_KEPT_ALIVE),
    signal: AbortSignal.timeout?.(REQUEST_TIMEOUT), // without it the browser decides
  };
  let response, receipt = {};
  try {
    response = await fetch(url + query, request);
    receipt = await response.json() ?? {};
  } catch ({name}) {
    if (name !== "SyntaxError") {
      throw failure("The server cannot be reached.", {status: 0, code: "unreachable"});
    }
  }
  // A login page is 200, too.
  const isOurs = method === "GET" ? receipt.rateable : receipt.feedback_id;
  if (response.ok && isOurs) return {receipt, response};
  const {status} = response, {code, detail = "HTTP " + status, errors} = receipt;
  throw failure(errors ? inWords(errors) : detail, {status, code, errors, response});
}

const failure = (message, about) =>
  Object.assign(new Error(message), {name: "FeedbackError"}, about);

const inWords = (errors) => errors === Object(errors)
  ? Object.values(errors).map(inWords).join(" ")
  : errors;

/** Whether the blueprint said no to this very request: not a proxy, or the GET that a redirect makes of a POST. */
const isRefusal = ({code, response}) => !response?.redirected &&
  /^(invalid|too-(large|many-revisions)|unknown-message|(not|malformed)-json)$/.test(code);

const isPassing = ({status}) => [0, 408, 425, 429].includes(status) || status >= 500;

// Trying again

const busyUntil = {}; // by URL
const sleepers = new Set();

/** Try again now what waits for its next try. */
export const wake = () => sleepers.forEach((resume) => resume());

export async function persist({url}, attempt, whenWaiting) {
  for (let pause = FIRST_PAUSE; ; pause = Math.min(2 * pause, LONGEST_PAUSE)) {
    const rest = busyUntil[url] - Date.now();
    if (rest > 0) await new Promise((resume) => setTimeout(resume, rest));
    try {
      return await attempt();
    } catch (error) {
      if (isRefusal(error) || !isPassing(error)) throw error;
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

// One at a time, in all tabs if this is HTTPS
function inTurn(key, work) {
  if (withStorage((storage) => storage) && navigator.locks) return navigator.locks.request(key, work);
  return turns[key] = Promise.resolve(turns[key]).then(work, work);
}

// A vote without a rating is a retraction.
export function submit({messageId, rating, category, message, metadata, ...options}) {
  const vote = {message_id: String(messageId), rating, category, message, metadata};
  const place = placeOf(options), key = keyOf(place, messageId);
  sendLeftovers(place);
  const text = JSON.stringify({vote, at: Date.now() + Math.random()}), entry = JSON.parse(text);
  const isStored = withStorage((storage) => {
    try {
      storage.setItem(key, text);
      return true;
    } catch {
      remove(key); // it is full
    }
  });
  tell("sending", key, entry);
  wake(); // what this one replaces
  return inTurn(key, () => deliver(place, key, entry, isStored));
}

const visited = new Set(); // places whose leftovers were sent

export function sendLeftovers(place) {
  const mine = keyOf(place, "");
  if (visited.has(mine)) return;
  visited.add(mine);
  for (const key of withStorage(Object.keys) ?? []) {
    const entry = key.startsWith(`feedback ${place.url} `) && read(key);
    if (!entry) continue;
    if (key.startsWith(mine)) {
      const isStillThere = () => read(key)?.at === entry.at; // unless another was first
      inTurn(key, () => isStillThere() && deliver(place, key, entry, true)).catch(() => {});
    } else if (entry.at < Date.now() - WEEK) {
      remove(key);
    }
  }
}

async function deliver(place, key, entry, isStored) {
  const {vote} = entry;
  const settle = (name, detail) => {
    if (name === "kept") visited.delete(keyOf(place, ""));
    else if (read(key)?.at === entry.at) remove(key);
    tell(name, key, entry, detail);
  };
  const attempt = () => {
    // Without locks another tab may have sent it, and a newer one.
    const now = read(key) ?? (isStored && !navigator.locks ? {} : entry);
    if (now.at !== entry.at) {
      throw new DOMException("Replaced by a newer vote", "AbortError");
    }
    return vote.rating === undefined
      ? retract(place, vote.message_id)
      : call(place, "POST", "", JSON.stringify(vote));
  };
  try {
    const answer = await persist(place, attempt, (error) => tell("waiting", key, entry, {error}));
    settle("accepted", answer);
    return answer.receipt;
  } catch (error) {
    settle(isRefusal(error) ? "refused" : "kept", {error});
    throw error;
  }
}

async function retract(place, messageId) {
  const query = idQuery(messageId);
  try {
    return await call(place, "DELETE", query);
  } catch (error) {
    if (error.code !== "unknown-message") throw error;
    // There is no vote (any more), if the message is known.
    const {receipt, response} = await call(place, "GET", query);
    if (!receipt.rateable[0]) throw error;
    return {receipt: {message_id: messageId, status: "unchanged"}, response};
  }
}

// Who shows what becomes of a vote

/** What shows a message: an `element`, its `key`, and `hear(name, entry, error)`. */
export const views = new Set();

export const viewsOf = (key) => [...views].filter((view) => view.key === key);

function tell(name, key, entry, detail = {}) {
  const shown = viewsOf(key);
  for (const view of shown) view.hear(name, entry, detail.error);
  if (name !== "accepted" && name !== "refused") return;
  const {message_id: messageId, ...vote} = entry.vote;
  (shown[0]?.element ?? document).dispatchEvent(new CustomEvent("feedback-" + name, {
    bubbles: true, composed: true, detail: {messageId, ...vote, ...detail},
  }));
}

if (typeof document !== "undefined") {
  addEventListener("online", wake);
  addEventListener("storage", ({key}) => key?.startsWith("feedback ") && wake()); // another tab was served
}
