// The thumbs, the comment and the event under one reply: all of the page that knows /feedback.

const ENDPOINT = "feedback";

async function call(method, query = "", body = undefined) {
  let response;
  try {
    response = await fetch(ENDPOINT + query, {
      method,
      headers: body && {"Content-Type": "application/json"},
      body: body && JSON.stringify(body),
      keepalive: true,
    });
  } catch {
    throw new Error("The server cannot be reached, so nothing was recorded.");
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(reason(answer) ?? `The server answered ${response.status}.`);
  return {answer, event: JSON.parse(response.headers.get("X-Feedback-Event"))};
}

// Why a problem document refuses, in words.
function reason({errors, detail}) {
  return errors ? Object.values(errors).flat().join(" ") : detail;
}

// The standing votes on these messages, by message ID; null for one that can no longer be rated.
export async function loadVotes(ids) {
  const votes = new Map();
  for (let i = 0; i < ids.length; i += 100) {
    const part = ids.slice(i, i + 100);
    const query = "?" + new URLSearchParams(part.map((id) => ["message_id", id]));
    const {answer} = await call("GET", query);
    for (const id of part) votes.set(id, answer.rateable.includes(id) ? {} : null);
    for (const vote of answer.feedback) votes.set(vote.message_id, vote);
  }
  return votes;
}

export class Thumbs {
  // `turn` holds the message's ID, and the last event about it; `save` is called when that changes.
  constructor(turn, save) {
    this.turn = turn;
    this.save = save;
    this.element = document.getElementById("thumbs").content.firstElementChild.cloneNode(true);
    this.buttons = [...this.element.querySelectorAll("[aria-pressed]")];
    this.status = this.element.querySelector("[role=status]");
    this.form = this.element.querySelector("form");
    this.vote = this.accepted = {};
    this.queue = Promise.resolve();

    for (const button of this.buttons) {
      button.addEventListener("click", () => {
        const rating = button.value === this.vote.rating ? undefined : button.value;
        this.send({rating});
      });
    }
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.send({rating: this.vote.rating, message: this.form.comment.value.trim() || undefined});
    });
    if (turn.event) this.showEvent(turn.event);
  }

  // Shows the vote at once, sends it after those before it, and takes it back where it is refused.
  send(vote) {
    this.show(vote);
    this.say("Sending…");
    this.queue = this.queue.then(async () => {
      try {
        const message_id = this.turn.messageId;
        const {event} = vote.rating
          ? await call("POST", "", {message_id, ...vote})
          : await call("DELETE", "?" + new URLSearchParams({message_id}));
        this.accepted = vote;
        if (event) {
          const details = this.showEvent(event);
          details.open = true;
          details.scrollIntoView({block: "nearest"});
        }
        if (this.vote === vote) this.say(vote.rating ? "Recorded. Thank you." : "Taken back.");
      } catch (error) {
        if (this.vote !== vote) return;
        const typed = this.accepted.rating === vote.rating ? vote.message : undefined;
        this.show(this.accepted, typed);
        this.say(error.message, true);
      }
    });
  }

  show(vote, comment = vote.message) {
    this.vote = vote;
    for (const button of this.buttons) {
      button.setAttribute("aria-pressed", button.value === vote.rating);
    }
    this.form.hidden = !vote.rating;
    this.form.comment.value = comment ?? "";
  }

  // What the server keeps, read back: null where the message can no longer be rated.
  restore(vote) {
    this.show(this.accepted = vote ?? {});
    for (const button of this.buttons) button.disabled = vote === null;
    if (vote === null) this.say("This reply can no longer be rated.");
  }

  showEvent(event) {
    this.turn.event = event;
    this.save();
    const {trace_id, rating, ...others} = event;
    const rows = Object.entries({trace_id, rating, ...others}).flatMap(([name, value]) => {
      const term = document.createElement("dt");
      const description = document.createElement("dd");
      term.textContent = name;
      description.textContent = value === "" ? '""' : value;
      return [term, description];
    });
    const details = this.element.querySelector("details");
    details.querySelector("dl").replaceChildren(...rows);
    details.hidden = false;
    return details;
  }

  say(text, refused = false) {
    this.status.textContent = text;
    this.status.classList.toggle("refused", refused);
  }
}
