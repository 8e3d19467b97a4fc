// The conversation: sends it, streams the reply, keeps it over a reload. All that it does about
// feedback is to put a <message-feedback> under each reply, and to show the event of each vote.

const $ = (id) => document.getElementById(id);
const [log, composer, prompt] = [$("log"), $("composer"), $("prompt")];
const turns = JSON.parse(sessionStorage.getItem("turns") ?? "[]");
let stream = null;

const save = () => sessionStorage.setItem("turns", JSON.stringify(turns));

function element(tag, className, text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

function toEnd() {
  window.scrollTo({top: document.body.scrollHeight});
}

function show(turn) {
  $("welcome").hidden = true;
  const article = element("article", turn.role);
  article.append(
    element("h2", "hidden", turn.role === "user" ? "You" : "Reply"),
    element("p", "text", turn.content),
  );
  log.append(article);
  return article;
}

function showFeedback(article, turn) {
  if (turn.note) article.append(element("p", "note", turn.note));
  if (!turn.messageId) return;
  article.append($("feedback").content.cloneNode(true));
  article.querySelector("message-feedback").setAttribute("message-id", turn.messageId);
  showEvent(article, turn.event);
}

// What the agent took, attribute by attribute.
function showEvent(article, event) {
  if (!event) return;
  const {trace_id, rating, ...others} = event;
  const rows = Object.entries({trace_id, rating, ...others}).flatMap(([name, value]) =>
    [element("dt", "", name), element("dd", "", value === "" ? '""' : value)]);
  const details = article.querySelector("details");
  details.querySelector("dl").replaceChildren(...rows);
  details.hidden = false;
}

// The built-in responder has an answer to these alone.
function offerQuestions(article, asked) {
  const questions = document.querySelector("#welcome .questions");
  const isAnswered = [...questions.children].some((button) => button.textContent === asked);
  if ("builtIn" in log.dataset && !isAnswered) article.append(questions.cloneNode(true));
}

log.addEventListener("feedback-accepted", ({target, detail}) => {
  const {event} = detail.receipt;
  const turn = turns.find((turn) => turn.messageId === detail.messageId);
  if (!event || !turn) return;
  const article = target.closest("article"), details = article.querySelector("details");
  const isFirst = !turns.some((turn) => turn.event);
  turn.event = event;
  save();
  showEvent(article, event);
  if (!isFirst) return; // the next ones stay closed until somebody opens them
  details.open = true;
  details.scrollIntoView({block: "nearest"});
});

async function ask(content) {
  log.querySelector(".questions")?.remove();
  turns.push({role: "user", content});
  show(turns.at(-1));
  const turn = {role: "assistant", content: ""};
  const article = show(turn);
  const text = article.querySelector(".text");
  log.setAttribute("aria-busy", "true");  // read out when it is complete, not word by word
  stream = new AbortController();
  $("send").hidden = !($("stop").hidden = false);
  toEnd();

  try {
    const messages = turns.filter((t) => t.content).map(({role, content}) => ({role, content}));
    const response = await fetch("chat", {
      method: "POST",
      headers: {"Content-Type": "application/json"},
      body: JSON.stringify({messages}),
      signal: stream.signal,
    });
    if (!response.ok) throw new Error(`The server answered ${response.status}; its log says why.`);
    turn.messageId = response.headers.get("X-Message-ID");
    if (!turn.messageId) turn.note = "The server could not keep this reply’s trace ID, so it cannot be rated.";
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let part; !(part = await reader.read()).done;) {
      const atEnd = innerHeight + scrollY >= document.body.scrollHeight - 40;
      text.textContent = turn.content += part.value;
      if (atEnd) toEnd();
    }
  } catch (error) {
    turn.note = error.name === "AbortError" ? "You stopped this reply." : `There is no more of this reply. ${error.message}`;
  }

  turns.push(turn);
  save();
  showFeedback(article, turn);
  offerQuestions(article, content);
  log.removeAttribute("aria-busy");
  stream = null;
  $("send").hidden = !($("stop").hidden = true);
  toEnd();
  prompt.focus();
}

composer.addEventListener("submit", (event) => {
  event.preventDefault();
  const content = prompt.value.trim();
  if (!content || stream) return;
  prompt.value = "";
  ask(content);
});
prompt.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  composer.requestSubmit();
});
$("stop").addEventListener("click", () => stream?.abort());
$("clear").addEventListener("click", () => {
  sessionStorage.removeItem("turns");
  location.reload();
});
document.addEventListener("click", ({target}) => {
  if (target.matches(".questions button") && !stream) ask(target.textContent);
});

for (const [i, turn] of turns.entries()) {
  const article = show(turn);
  if (turn.role !== "assistant") continue;
  showFeedback(article, turn);
  if (turn === turns.at(-1)) offerQuestions(article, turns[i - 1].content);
}
if (turns.length) toEnd();
