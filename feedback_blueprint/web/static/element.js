// <message-feedback>: shows the vote on one message, and sends what is pressed and written.

import {
  endpointOf, keyOf, loadFeedback, meta, read, retry, sendLeftovers, submit, views, viewsOf,
} from "./queue.js";

const TAG = "message-feedback";
const COMMENT_BYTES = 4095, NEARLY_FULL = 400; // bytes left from which on it counts them

export const texts = {
  rate: "Rate this reply",
  up: "Good reply",
  down: "Bad reply",
  star: "{rating} of {best}",
  reason: "Reason",
  comment: "Comment on this reply",
  more: "Say more",
  send: "Send comment",
  sending: "Sending…",
  accepted: "Recorded. Thank you.",
  commented: "Comment sent. Thank you.",
  retracted: "Taken back.",
  refused: "Not recorded.",
  waiting: "Not sent yet, trying again.",
  kept: "Cannot be sent now.",
  unreachable: "The server cannot be reached.",
  expired: "This reply can no longer be rated.",
  long: "This comment is too long.",
  left: "Characters left: {count}",
  over: "Characters too many: {count}",
  "agent-not-recording": "The server takes no feedback now.",
};

// The messages of a page are loaded in one go.
const asking = {}; // by endpoint and rater

function load(endpoint, messageId) {
  const mine = keyOf(endpoint, "");
  if (!asking[mine]) {
    const ids = asking[mine] = new Set();
    setTimeout(() => {
      delete asking[mine];
      retry(endpoint, () => loadFeedback(ids, endpoint)).then(({feedback, rateable}) => {
        for (const id of ids) for (const view of viewsOf(mine + id)) {
          view.onLoad(feedback.find((vote) => vote.message_id === id), rateable.includes(id));
        }
      }, () => {});
    });
  }
  asking[mine].add(messageId);
}

// How it looks

const CSS_TEXT = `
  :host { display: block; font-size: .875rem; }
  * { box-sizing: border-box; margin: 0; }
  div { display: flex; flex-wrap: wrap; align-items: center; gap: .5rem; }
  :host([hidden]), :host(:not([message-id])), :host([message-id=""]), [hidden] { display: none; }
  [part=ratings] { gap: .125rem; margin-inline-start: -.5rem; }
  [part=details] { margin-block-start: .5rem; }
  [part=categories] { flex-basis: 100%; }
  button, textarea {
    min-height: var(--feedback-size, 2.25rem);
    max-width: 100%;
    padding: .4rem .75rem;
    border: 1px solid color-mix(in srgb, currentColor 55%, transparent);
    border-radius: .6rem;
    background: none;
    color: inherit;
    font: inherit;
  }
  button { cursor: pointer; }
  button:hover { background: color-mix(in srgb, currentColor 9%, transparent); }
  [aria-disabled=true] { opacity: .45; background: none; cursor: default; }
  :focus-visible { outline: 2px solid var(--feedback-accent, currentColor); outline-offset: 1px; }
  [part~=rating] { width: var(--feedback-size, 2.25rem); padding: 0; border-color: transparent; }
  [part=more] { border-color: transparent; text-decoration: underline; }
  svg {
    width: 1.25rem; vertical-align: middle;
    fill: none; stroke: currentColor; stroke-width: 1.7; stroke-linejoin: round;
  }
  [part~=down] svg { transform: scaleY(-1); }
  [part~=filled] { color: var(--feedback-accent, inherit); }
  [part~=filled] svg { fill: currentColor; }
  [part~=category][part~=pressed] { box-shadow: inset 0 0 0 2px; }
  textarea { flex: 1; min-width: 9rem; max-height: 16rem; field-sizing: content; }
  ::placeholder { color: inherit; opacity: .8; }
  @media (forced-colors: active) {
    [aria-disabled=true] {
      opacity: 1;
      border-color: GrayText;
      color: GrayText;
    }
    [part~=category][part~=pressed] {
      forced-color-adjust: none;
      border-color: Highlight;
      background: Highlight;
      color: HighlightText;
    }
  }
  @media print {
    textarea:placeholder-shown, [part=send], [part=more], [part=count] { display: none; }
  }
`;
const THUMB = "M7 11v10H3V11zl5-8q3 0 2 3l-1 4h6q2 0 2 2l-2 7q0 2-2 2H7";
const STAR = "m12 3 3 6 6 1-5 4 1 7-5-3-5 3 1-7-5-4 6-1z";

let sheet;

function styleSheet() {
  if (!sheet) {
    sheet = new CSSStyleSheet();
    sheet.replaceSync(CSS_TEXT);
  }
  return sheet;
}

function make(name, attributes, ...children) {
  const space = name === "svg" || name === "path" ? "2000/svg" : "1999/xhtml";
  const node = document.createElementNS("http://www.w3.org/" + space, name);
  for (const key in attributes) node.setAttribute(key, attributes[key]);
  node.append(...children);
  return node;
}

function button(part, press, ...content) {
  const made = make("button", {type: "button", part}, ...content);
  // A double click or a held key is not a change of mind.
  made.onclick = ({detail}) => {
    if (detail <= 1 && made.getAttribute("aria-disabled") !== "true") press();
  };
  made.onkeydown = ({key, repeat}) => key !== "Enter" || !repeat;
  return made;
}

function choiceButton(part, choice, choose, ...content) {
  const isPressed = () => made.getAttribute("aria-pressed") === "true";
  const made = button(part, () => choose(isPressed() ? undefined : choice), ...content);
  made.choice = choice;
  return made;
}

// Attributes, not their reflection, which Firefox has since 119 only; and no :has for the stars
// up to the chosen one, which WebKit does not draw anew.
function pressOne(group, choice) {
  const buttons = [...group.children], chosen = buttons.findIndex((each) => each.choice === choice);
  for (const [i, each] of buttons.entries()) {
    each.setAttribute("aria-pressed", i === chosen);
    each.part.toggle("pressed", i === chosen);
    each.part.toggle("filled", each.part.contains("star") ? i <= chosen : i === chosen);
  }
}

/** Put other buttons into a group. The focus moves to the button of the same choice. */
function replaceButtons(group, buttons) {
  const focused = [...group.children].find((each) => each.matches(":focus"))?.choice;
  group.replaceChildren(...buttons);
  if (focused !== undefined) buttons.find(({choice}) => choice === focused)?.focus();
}

function growWithText(field) {
  field.style.height = "auto";
  const borders = field.offsetHeight - field.clientHeight;
  if (field.value.trim()) field.style.height = `${field.scrollHeight + borders}px`;
}

const listed = (list) => list?.split(",").map((item) => item.trim()) ?? [];

// The server's limit is in bytes, a person counts characters.

const bytesOf = (text) => new TextEncoder().encode(text).length;

const charactersOf = (text) => globalThis.Intl?.Segmenter
  ? Array.from(new Intl.Segmenter().segment(text), ({segment}) => segment)
  : [...text];

const charactersLeft = (text) =>
  Math.floor((COMMENT_BYTES - bytesOf(text)) * charactersOf(text).length / bytesOf(text));

function charactersOver(text) {
  let over = 0, bytes = bytesOf(text);
  for (const character of charactersOf(text).reverse()) {
    if (bytes <= COMMENT_BYTES) break;
    bytes -= bytesOf(character);
    over++;
  }
  return over;
}

export class MessageFeedback extends (globalThis.HTMLElement ?? Object) {
  static observedAttributes = ["message-id", "base-url", "rater", "ratings", "categories",
    "no-comment", ...Object.keys(texts).map((name) => "text-" + name)];

  #view = {
    element: this,
    onVote: (...vote) => this.#onVote(...vote),
    onLoad: (...known) => this.#onLoad(...known),
    update: () => this.#update(),
  };
  #standing; // as acknowledged
  #isStale = true; // what stands may have changed: it is being loaded
  #pending; // on its way
  #isKept = false; // and cannot be sent now
  #shown = {}; // the vote that the buttons and the comment show
  #isOpen = false; // opens when this visitor votes, not because a vote exists
  #focused;
  #parts;

  get messageId() { return this.getAttribute("message-id"); }

  set messageId(id) {
    if (id == null) this.removeAttribute("message-id");
    else this.setAttribute("message-id", id);
  }

  connectedCallback() {
    if (Object.hasOwn(this, "messageId")) { // set before there was a setter
      const {messageId} = this;
      delete this.messageId;
      this.messageId = messageId;
    }
    if (!this.#parts) this.#build();
    views.add(this.#view);
    this.#label();
    this.refresh();
    this.#focused?.focus({preventScroll: true}); // it was moved
  }

  disconnectedCallback() {
    views.delete(this.#view);
    queueMicrotask(() => {
      if (!this.isConnected) this.#focused = undefined;
    });
  }

  attributeChangedCallback(name, old, value) {
    if (views.has(this.#view) && old !== value) this.#update();
  }

  refresh() {
    const {messageId} = this, endpoint = this.#endpoint, key = keyOf(endpoint, messageId);
    const isAnother = key !== this.#view.key;
    if (isAnother) {
      this.#view.key = key;
      this.#standing = undefined;
      this.#shown = {};
      this.#isOpen = false;
      this.#parts.comment.value = "";
      this.#allow(true);
    }
    const pending = read(key);
    if (isAnother || pending || this.#pending) this.#say(pending ? "waiting" : "");
    this.#pending = pending;
    this.#isKept = false;
    this.#isStale = true;
    this.#show();
    if (!messageId) return;
    sendLeftovers(endpoint);
    load(endpoint, messageId);
  }

  get #endpoint() {
    return endpointOf({
      baseUrl: this.getAttribute("base-url"),
      credentials: this.getAttribute("credentials"),
      csrfToken: this.getAttribute("csrf-token"),
      rater: this.getAttribute("rater"),
    });
  }

  /** Follow what the attributes and the page say now. */
  #update() {
    this.#label();
    if (keyOf(this.#endpoint, this.messageId) !== this.#view.key) this.refresh();
    else this.#show();
  }

  // A disabled button would lose the focus.
  #allow(isRateable) {
    const {ratings} = this.#parts;
    for (const button of ratings.children) button.setAttribute("aria-disabled", !isRateable);
    ratings.title = isRateable ? "" : this.#text("expired");
  }

  #onLoad(vote, isRateable) {
    if (this.#isStale) this.#standing = vote ?? {};
    this.#allow(isRateable);
    this.#show();
  }

  #onVote(name, entry, error) {
    const {vote} = entry, hasRating = vote.rating !== undefined;
    let said = name;
    if (name === "sending") {
      this.#pending = entry;
      this.#isOpen = true;
    }
    if (name === "accepted") {
      if (!hasRating) said = "retracted";
      else if (vote.message && vote.message !== this.#standing?.message) said = "commented";
      this.#standing = vote;
      this.#isStale = false;
    }
    if (this.#pending?.at !== entry.at) return;
    this.#isKept = name === "kept";
    if (name === "accepted" || name === "refused") this.#pending = undefined;
    this.#say(said, error);
    this.#show(name === "refused");
  }

  get #vote() {
    return this.#pending?.vote ?? this.#standing ?? {};
  }

  #text(name, values = {}) {
    const text = this.getAttribute("text-" + name) ?? texts[name];
    return text?.replace(/\{(\w+)\}/g, (all, key) => values[key] ?? all);
  }

  #say(name, error) {
    const {status} = this.#parts;
    const reason = error ? " " + (this.#text(error.code) ?? error.message) : "";
    status.textContent = name ? this.#text(name) + reason : "";
    status.part.toggle("refused", name === "refused");
  }

  #send(vote) {
    const {messageId, metadata} = this;
    submit({messageId, metadata, ...vote, ...this.#endpoint}).catch(() => {});
  }

  #build() {
    const group = (part) => make("div", {part, role: "group"});
    const ratings = group("ratings"), categories = group("categories");
    const status = make("p", {part: "status", role: "status"});
    const more = button("more", () => {
      this.#isOpen = true;
      this.#show();
      (categories.firstChild ?? comment).focus();
    });
    more.setAttribute("aria-expanded", false);
    const comment = make("textarea", {part: "comment", rows: 1, "aria-describedby": "count"});
    comment.oninput = () => this.#checkComment();
    const count = make("span", {part: "count", id: "count"});
    const send = button("send", () => this.#send({...this.#vote, message: comment.value.trim()}));
    const details = make("div", {part: "details"}, categories, comment, count, send);
    this.#parts = {ratings, categories, status, more, comment, count, send, details};

    const root = this.attachShadow({mode: "open"});
    root.adoptedStyleSheets = [styleSheet()];
    root.append(make("div", {part: "bar"}, ratings, more, status), details);
    // A browser takes the focus from what is moved, and may report that first.
    root.addEventListener("focusin", ({target}) => { this.#focused = target; });
    root.addEventListener("focusout", ({target}) => queueMicrotask(() => {
      if (this.#focused === target && !target.matches(":focus")) this.#focused = undefined;
    }));
  }

  #buildRatings(range, best) {
    const {ratings} = this.#parts;
    if (ratings.range === range) return;
    ratings.range = range;
    const scale = best ? Array.from({length: best}, (_, i) => i + 1) : listed(range);
    replaceButtons(ratings, scale.map((value, i) => {
      const name = best ? "star" : i ? "down" : "up";
      const path = make("path", {d: best ? STAR : THUMB});
      const icon = make("svg", {viewBox: "0 0 24 24", "aria-hidden": true}, path);
      const slot = make("slot", {name: value}, icon);
      const made = choiceButton("rating " + name, value, (rating) => this.#send({rating}), slot);
      made.textName = name;
      return made;
    }));
  }

  #label() {
    const {ratings, categories, more, comment, send} = this.#parts;
    const range = this.getAttribute("ratings") || "good,bad";
    const best = range.match(/^1-(\d+)$/)?.[1];
    this.#buildRatings(range, best);
    for (const each of ratings.children) {
      each.title = this.#text(each.textName, {rating: each.choice, best});
      each.setAttribute("aria-label", each.title);
    }
    ratings.setAttribute("aria-label", this.#text("rate"));
    categories.setAttribute("aria-label", this.#text("reason"));
    comment.placeholder = this.#text("comment");
    comment.setAttribute("aria-label", this.#text("comment"));
    more.textContent = this.#text("more");
    send.textContent = this.#text("send");
    comment.hidden = send.hidden = this.hasAttribute("no-comment");
  }

  #show(wasRefused = false) {
    const {ratings, categories, more, comment, details} = this.#parts;
    const before = this.#shown, {rating, category, message} = this.#shown = this.#vote;
    const list = this.getAttribute("categories-" + rating) ?? this.getAttribute("categories");
    if (categories.list !== list) {
      categories.list = list;
      replaceButtons(categories, listed(list).map((item) => {
        const [value, label = value] = item.split("=");
        const choose = (chosen) => this.#send({...this.#vote, category: chosen});
        return choiceButton("category", value, choose, label);
      }));
      categories.hidden = !list;
    }
    pressOne(ratings, rating);
    pressOne(categories, category);
    // What was typed stays, unless it is of the vote that is gone.
    const isDraft = comment.value.trim() !== (before.message ?? "");
    if (!isDraft && !(wasRefused && before.rating === rating)) comment.value = message ?? "";

    if (rating === undefined) this.#isOpen = false;
    const hasDetails = rating !== undefined && !(categories.hidden && comment.hidden);
    const hadFocus = details.matches(":focus-within");
    details.hidden = !(hasDetails && this.#isOpen);
    more.hidden = !hasDetails || this.#isOpen;
    if (details.hidden && hadFocus) ratings.firstChild.focus();
    this.#checkComment();
  }

  /** See whether the comment is new and how long it is: say so, and allow to send it or not. */
  #checkComment() {
    const {comment, count, send} = this.#parts;
    const text = comment.value.trim(), bytes = bytesOf(text);
    const isLong = bytes > COMMENT_BYTES, isNew = text !== (this.#vote.message ?? "");
    count.textContent = isLong ? this.#text("over", {count: charactersOver(text)})
      : bytes > COMMENT_BYTES - NEARLY_FULL ? this.#text("left", {count: charactersLeft(text)})
      : "";
    count.hidden = !count.textContent;
    send.setAttribute("aria-disabled", isLong || !isNew && !this.#isKept);
    if (isLong !== (comment.getAttribute("aria-invalid") === "true")) this.#say(isLong && "long");
    comment.setAttribute("aria-invalid", isLong);
    if (!CSS.supports("field-sizing", "content")) growWithText(comment);
  }
}

// Not a field: that would overwrite what was set before the element was defined.
MessageFeedback.prototype.metadata = undefined;

if (typeof document !== "undefined") {
  addEventListener("storage", ({key, newValue}) => {
    if (!newValue) for (const {element} of viewsOf(key)) element.refresh();
  });

  // Back or forward: the page is as it was left, what stands may not be.
  addEventListener("pageshow", ({persisted}) => {
    if (persisted) for (const {element} of views) element.refresh();
  });

  // A login changes the page's rater.
  let rater = meta("feedback-rater");
  new MutationObserver(() => {
    const before = rater;
    rater = meta("feedback-rater");
    if (rater === before) return;
    sendLeftovers(endpointOf());
    for (const view of views) view.update();
  }).observe(document.head, {subtree: true, childList: true, attributeFilter: ["content"]});

  queueMicrotask(() => { // importers may change texts first
    customElements.get(TAG) ?? customElements.define(TAG, MessageFeedback);
    sendLeftovers(endpointOf());
  });
}
