// feedback.d.ts documents this.
// A vote is kept, and sent again, until the server has acknowledged or refused it.

const HOME = import.meta.url.match(/^(.+)\/static\/feedback\.js/)?.[1] ?? "/feedback";

export const texts = {
  rate: "Rate this reply",
  up: "Good reply",
  down: "Bad reply",
  star: "{rating} of {best}",
  reason: "Reason",
  comment: "Comment on this reply",
  send: "Send",
  sending: "Sending…",
  accepted: "Recorded. Thank you.",
  retracted: "Taken back.",
  refused: "Not recorded.",
  waiting: "Not sent yet, trying again.",
  kept: "Cannot be sent now.",
  unreachable: "The server cannot be reached.",
  expired: "This reply can no longer be rated.",
  long: "This comment is too long.",
  "agent-not-recording": "The server takes no feedback now.",
};

export const messageIdOf = ({headers}) => headers.get("X-Message-ID")?.split(/, */).pop() ?? null;

export const sendFeedback = (vote) => submit({...vote, rating: vote.rating ?? null});

export const retractFeedback = (messageId, options) => submit({...options, messageId});

export async function loadFeedback(messageIds, options) {
  const ids = [...messageIds], query = idQuery(...ids);
  if (!ids.length) return {feedback: [], rateable: []};
  // The server takes 100 IDs, gunicorn lines of 4094 bytes.
  if (ids.length < 2 || ids.length <= 100 && query.length < 3600) {
    return (await call(place(options), "GET", query)).receipt;
  }
  const halves = [ids.splice(ids.length / 2), ids].reverse();
  const [one, two] = await Promise.all(halves.map((half) => loadFeedback(half, options)));
  return {
    feedback: [...one.feedback, ...two.feedback],
    rateable: [...one.rateable, ...two.rateable],
  };
}

const idQuery = (...ids) => "?" + new URLSearchParams(ids.map((id) => ["message_id", id]));

const meta = (name) => document.querySelector(`meta[name=${name}]`)?.content;

const place = ({url, baseUrl, credentials, csrfToken, rater} = {}) => ({
  url: url ?? new URL(baseUrl || HOME, document.baseURI).href,
  credentials: credentials || undefined,
  csrfToken,
  rater: rater ?? meta("feedback-rater"),
});

async function call({url, credentials, csrfToken, rater}, method, query = "", body) {
  const headers = {"Content-Type": "application/json"};
  const token = csrfToken || meta("csrf-token");
  if (token) headers["X-CSRFToken"] = token;
  if (rater != null) headers["X-Feedback-Rater"] = rater; // a login can change any time
  let response, receipt = {};
  try {
    response = await fetch(url + query, {
      method, headers, body, credentials,
      keepalive: !(body?.length > 2e4), // browsers limit it
      signal: AbortSignal.timeout(1e4),
    });
    receipt = await response.json() ?? {};
  } catch ({name}) {
    if (name !== "SyntaxError") {
      throw failure(texts.unreachable, {status: 0, code: "unreachable"});
    }
  }
  // A login page is 200, too.
  if (response.ok && (receipt.feedback_id || receipt.rateable)) return {receipt, response};
  const {status} = response, {code, detail = "HTTP " + status, errors} = receipt;
  throw failure(errors ? words(errors) : detail, {status, code, errors, response});
}

// By the blueprint; not by a login page or a proxy
const refused = ({code}) => /^(invalid|too-.+|unknown-message|.+-json)$/.test(code);

const failure = (message, about) =>
  Object.assign(new Error(message), {name: "FeedbackError"}, about);

const words = (errors) =>
  errors === Object(errors) ? Object.values(errors).map(words).join(" ") : errors;

const busyUntil = {}; // by URL
const naps = new Set();
const wake = () => naps.forEach((resume) => resume());
addEventListener("online", wake);

async function insist({url}, attempt, waiting) {
  for (let pause = 500; ; pause = Math.min(2 * pause, 6e4)) {
    const rest = busyUntil[url] - Date.now();
    if (rest > 0) await new Promise((resume) => setTimeout(resume, rest));
    try {
      return await attempt();
    } catch (error) {
      const {status, response} = error;
      if (refused(error) || !/^(0|408|425|429|5..)$/.test(status)) throw error;
      waiting?.(error);
      const after = response?.headers.get("Retry-After");
      if (after) busyUntil[url] = isNaN(after) ? Date.parse(after) : Date.now() + after * 1000;
      await new Promise((resume) => {
        naps.add(resume);
        setTimeout(() => naps.delete(resume) && resume(), pause * (0.5 + Math.random() / 2));
      });
    }
  }
}

// The queue: one entry for each message with a vote under way, by each rater

const keyOf = ({url, rater}, messageId) => `feedback ${url} ${JSON.stringify(rater)} ${messageId}`;
const WEEK = 6048e5; // FEEDBACK_TTL by default
const turns = {};

// Storage can be forbidden, full or broken.
function withStorage(work) {
  try {
    return work(localStorage);
  } catch {}
}

// Others can write there, too.
const read = (key) => withStorage((storage) => {
  const entry = JSON.parse(storage.getItem(key));
  return key.endsWith(" " + entry.vote.message_id) ? entry : undefined;
});

// One at a time, in all tabs if this is HTTPS
const inTurn = (key, work) => withStorage((storage) => storage) && navigator.locks
  ? navigator.locks.request(key, work)
  : turns[key] = Promise.resolve(turns[key]).then(work, work);

// A vote without a rating is a retraction.
function submit({messageId, rating, category, message, metadata, ...options}) {
  const vote = {message_id: String(messageId), rating, category, message, metadata};
  const there = place(options), key = keyOf(there, messageId);
  sendLeftovers(there);
  const text = JSON.stringify({vote, at: Date.now() + Math.random()}), entry = JSON.parse(text);
  withStorage((storage) => {
    try {
      storage.setItem(key, text);
    } catch {
      storage.removeItem(key); // it is full
    }
  });
  tell("sending", key, entry);
  wake(); // what this one replaces
  return inTurn(key, () => deliver(there, key, entry));
}

const visited = new Set();

function sendLeftovers(there) {
  const mine = keyOf(there, "");
  if (visited.has(mine)) return;
  visited.add(mine);
  for (const key of withStorage(Object.keys) ?? []) {
    const entry = key.startsWith(`feedback ${there.url} `) && read(key);
    if (!entry) continue;
    if (key.startsWith(mine)) inTurn(key, () =>
      read(key)?.at === entry.at && deliver(there, key, entry) // unless another was first
    ).catch(() => {});
    else if (entry.at < Date.now() - WEEK) withStorage((storage) => storage.removeItem(key));
  }
}

async function deliver(there, key, entry) {
  const {vote} = entry, query = idQuery(vote.message_id);
  const settle = (name, detail) => {
    if (name === "kept") visited.delete(keyOf(there, ""));
    else if (read(key)?.at === entry.at) withStorage((storage) => storage.removeItem(key));
    tell(name, key, entry, detail);
  };
  try {
    const answer = await insist(there, async () => {
      if ((read(key) ?? entry).at !== entry.at) {
        throw new DOMException("Replaced by a newer vote", "AbortError");
      }
      if (vote.rating !== undefined) return call(there, "POST", "", JSON.stringify(vote));
      return call(there, "DELETE", query).catch(async (error) => {
        if (error.code !== "unknown-message") throw error;
        // There is no vote (any more), if the message is known.
        const {receipt, response} = await call(there, "GET", query);
        if (!receipt.rateable[0]) throw error;
        return {receipt: {message_id: vote.message_id, status: "unchanged"}, response};
      });
    }, (error) => tell("waiting", key, entry, {error}));
    settle("accepted", answer);
    return answer.receipt;
  } catch (error) {
    settle(refused(error) ? "refused" : "kept", {error});
    throw error;
  }
}

function tell(name, key, entry, detail = {}) {
  const shown = showing(key);
  for (const element of shown) element.hear(name, entry, detail.error);
  if (!/ed$/.test(name)) return;
  const {message_id: messageId, ...vote} = entry.vote;
  (shown[0] ?? document).dispatchEvent(new CustomEvent("feedback-" + name, {
    bubbles: true, composed: true, detail: {messageId, ...vote, ...detail},
  }));
}

// The element

const elements = new Set();
const showing = (key) => [...elements].filter((element) => element.key === key);
const asking = {}; // by place: messages to load in one go

function load({messageId, there}) {
  const here = keyOf(there, "");
  if (!asking[here]) {
    const ids = asking[here] = new Set();
    setTimeout(() => {
      delete asking[here];
      insist(there, () => loadFeedback(ids, there)).then(({feedback, rateable}) => {
        for (const id of ids) for (const element of showing(here + id)) {
          element.learn(feedback.find((vote) => vote.message_id === id), rateable.includes(id));
        }
      }, () => {});
    });
  }
  asking[here].add(messageId);
}

// Another tab was served.
addEventListener("storage", ({key, newValue}) => {
  wake();
  if (!newValue) for (const element of showing(key)) element.refresh();
});

// The page tells of a login.
let told = meta("feedback-rater");
new MutationObserver(() => {
  if (told === (told = meta("feedback-rater"))) return;
  sendLeftovers(place());
  for (const element of elements) {
    if (element.key !== keyOf(element.there, element.messageId)) element.connectedCallback();
  }
}).observe(document.head, {subtree: true, childList: true, attributeFilter: ["content"]});

const sheet = new CSSStyleSheet();
sheet.replaceSync(`
  :host { display: block; font-size: .875rem; }
  * { box-sizing: border-box; margin: 0; }
  div { display: flex; flex-wrap: wrap; align-items: center; gap: .5rem; }
  :host([hidden]), :host(:not([message-id])), :host([message-id=""]), [hidden] { display: none; }
  [part=ratings] { gap: .125rem; margin-inline-start: -.5rem; }
  [part=details] { margin-block-start: .5rem; }
  [part=categories] { flex-basis: 100%; }
  button, textarea {
    min-height: var(--feedback-size, 2.25rem);
    padding: .4rem .75rem;
    border: 1px solid color-mix(in srgb, currentColor 55%, transparent);
    border-radius: .6rem;
    background: none;
    color: inherit;
    font: inherit;
  }
  button { cursor: pointer; }
  button:hover { background: color-mix(in srgb, currentColor 9%, transparent); }
  button:disabled { opacity: .45; cursor: default; }
  :focus-visible { outline: 2px solid var(--feedback-accent, currentColor); outline-offset: 1px; }
  [part~=rating] { width: var(--feedback-size, 2.25rem); padding: 0; border-color: transparent; }
  [part~=pressed], [part~=star]:has(~ [part~=pressed]) { color: var(--feedback-accent, inherit); }
  [part~=category][part~=pressed] { box-shadow: inset 0 0 0 2px; }
  svg {
    width: 1.25rem; vertical-align: middle;
    fill: none; stroke: currentColor; stroke-width: 1.7; stroke-linejoin: round;
  }
  [part~=pressed] svg, [part~=star]:has(~ [part~=pressed]) svg { fill: currentColor; }
  [part~=down] svg { transform: scaleY(-1); }
  textarea { flex: 1; min-width: 9rem; field-sizing: content; }
  ::placeholder { color: inherit; opacity: .8; }
`);

const THUMB = "M7 11v10H3V11zl5-8q3 0 2 3l-1 4h6q2 0 2 2l-2 7q0 2-2 2H7";
const STAR = "m12 3 3 6 6 1-5 4 1 7-5-3-5 3 1-7-5-4 6-1z";

function make(name, attributes, ...children) {
  const space = /svg|path/.test(name) ? "2000/svg" : "1999/xhtml";
  const node = document.createElementNS("http://www.w3.org/" + space, name);
  for (const key in attributes) node.setAttribute(key, attributes[key]);
  node.append(...children);
  return node;
}

const split = (list) => list?.split(",").map((item) => item.trim()) ?? [];

function button(part, press, ...content) {
  const made = make("button", {type: "button", part}, ...content);
  // A double click or a held key is no change of mind.
  made.onclick = ({detail}) => detail > 1 || press();
  made.onkeydown = ({key, repeat}) => key !== "Enter" || !repeat;
  return made;
}

function toggle(part, value, choose, ...content) {
  const made = button(part, () => choose(made.ariaPressed === "true" ? undefined : value), ...content);
  made.choice = value;
  return made;
}

function press({children}, choice) {
  for (const each of children) {
    each.ariaPressed = each.choice === choice;
    each.part.toggle("pressed", each.choice === choice);
  }
}

export class MessageFeedback extends HTMLElement {
  static observedAttributes = ["message-id", "base-url", "rater", "ratings", "categories",
    ...Object.keys(texts).map((name) => "text-" + name)];

  metadata;
  #standing; // as acknowledged
  #pending; // on its way
  #parts;

  get messageId() { return this.getAttribute("message-id"); }

  get there() {
    return place({
      baseUrl: this.getAttribute("base-url"),
      credentials: this.getAttribute("credentials"),
      csrfToken: this.getAttribute("csrf-token"),
      rater: this.getAttribute("rater"),
    });
  }

  connectedCallback() {
    elements.add(this);
    if (!this.shadowRoot) this.attachShadow({mode: "open"}).adoptedStyleSheets = [sheet];
    this.#build();
    this.refresh();
  }

  disconnectedCallback() {
    elements.delete(this);
  }

  attributeChangedCallback(name, old, value) {
    if (elements.has(this) && old !== value) this.connectedCallback();
  }

  refresh() {
    const {messageId, there} = this;
    this.key = keyOf(there, messageId);
    this.#standing = undefined;
    this.#pending = read(this.key);
    this.#say(this.#pending ? "waiting" : "");
    this.#show();
    if (!messageId) return;
    sendLeftovers(there);
    load(this);
  }

  learn(vote, rateable) {
    this.#standing ??= vote ?? {};
    const {ratings} = this.#parts;
    for (const button of ratings.children) button.disabled = !rateable;
    ratings.title = rateable ? "" : this.#text("expired");
    this.#show();
  }

  hear(name, entry, error) {
    const before = this.#vote;
    if (name === "sending") this.#pending = entry;
    if (name === "accepted") this.#standing = entry.vote;
    if (this.#pending?.at !== entry.at) return;
    if (/ed$/.test(name)) this.#pending = undefined;
    this.#say(name === "accepted" && entry.vote.rating === undefined ? "retracted" : name, error);
    this.#show(before, name === "refused");
  }

  get #vote() {
    return this.#pending?.vote ?? this.#standing ?? {};
  }

  #text(name) {
    return this.getAttribute("text-" + name) ?? texts[name];
  }

  #say(name, error) {
    const {status} = this.#parts;
    const reason = error ? " " + (this.#text(error.code) ?? error.message) : "";
    status.textContent = name ? this.#text(name) + reason : "";
    status.part.toggle("refused", name === "refused");
  }

  #send(vote) {
    const {messageId, metadata, there} = this;
    submit({messageId, metadata, ...vote, ...there}).catch(() => {});
  }

  #build() {
    const text = (name) => this.#text(name);
    const group = (part, label) => make("div", {part, role: "group", "aria-label": text(label)});
    const status = make("p", {part: "status", role: "status"});

    const range = this.getAttribute("ratings") || "good,bad";
    const best = range.match(/^1-(\d+)$/)?.[1];
    const scale = best ? Array.from({length: best}, (_, i) => i + 1) : split(range);
    const ratings = group("ratings", "rate");
    ratings.append(...scale.map((value, i) => {
      const name = best ? "star" : i ? "down" : "up";
      const path = make("path", {d: best ? STAR : THUMB});
      const icon = make("svg", {viewBox: "0 0 24 24", "aria-hidden": true}, path);
      const made = toggle("rating " + name, value, (rating) => this.#send({rating}),
        make("slot", {name: value}, icon));
      made.ariaLabel = made.title = text(name).replace("{rating}", value).replace("{best}", best);
      return made;
    }));

    const chips = group("categories", "reason");
    const comment = make("textarea", {
      part: "comment", rows: 1, placeholder: text("comment"), "aria-label": text("comment"),
      "aria-describedby": "count",
    });
    const count = make("span", {part: "count", id: "count"});
    const send = button("send", () => this.#send({...this.#vote, message: comment.value.trim()}),
      text("send"));
    comment.oninput = () => {
      const bytes = new TextEncoder().encode(comment.value.trim()).length;
      const long = bytes > 4095;
      count.textContent = `${bytes} / 4095`;
      if (send.disabled !== long) this.#say(long && "long");
      comment.ariaInvalid = send.disabled = long;
    };
    const details = make("div", {part: "details"}, chips,
      ...this.hasAttribute("no-comment") ? [] : [comment, count, send]);

    this.#parts = {ratings, status, chips, comment, details};
    this.shadowRoot.replaceChildren(make("div", {part: "bar"}, ratings, status), details);
  }

  #show(before = {}, refused = false) {
    const {ratings, chips, comment, details} = this.#parts;
    const {rating, category, message} = this.#vote;
    if (chips.rating !== rating) {
      chips.rating = rating;
      const list = this.getAttribute("categories-" + rating) ?? this.getAttribute("categories");
      chips.replaceChildren(...split(list).map((item) => {
        const [value, label = value] = item.split("=");
        return toggle("category", value, (category) => this.#send({...this.#vote, category}), label);
      }));
      chips.hidden = !list;
    }
    press(ratings, rating);
    press(chips, category);
    // What was typed stays, unless it is of the vote that is gone.
    const draft = comment.value.trim() !== (before.message ?? "");
    if (!draft && !(refused && before.rating === rating)) comment.value = message ?? "";
    comment.oninput();
    details.hidden = rating === undefined;
    if (details.hidden && details.matches(":focus-within")) ratings.firstChild.focus();
  }
}

queueMicrotask(() => { // importers may change texts first
  const name = "message-feedback";
  customElements.get(name) ?? customElements.define(name, MessageFeedback);
  sendLeftovers(place());
});
