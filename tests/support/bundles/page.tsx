// What an app writes, and what its type checker is to refuse.
import {createElement, useRef} from "react";

import {
  defaults, loadFeedback, MessageFeedback, messageIdOf, retractFeedback, sendFeedback, texts,
  type FeedbackError, type Receipt, type StandingVote,
} from "./declared/feedback.js";

export const byAttribute = (
  <message-feedback
    message-id="m" ratings="1-5" categories="wrong, rude" categories-bad="wrong" no-comment
    text-up="Gut" text-unknown-message="Weg" base-url="/llm/feedback" credentials="include"
    rater="" csrf-token="t" key="m" className="small" slot="s"
    onfeedback-accepted={({detail}) => { const {revision}: Receipt = detail.receipt; return revision; }}
    onfeedback-refused={({detail}) => detail.error.errors}
  />
);

export function ByProperty({id}: {id: number | null}) {
  const element = useRef<MessageFeedback>(null);
  element.current?.refresh();
  return <message-feedback messageId={id} metadata={{screen: "small", n: 1}} ref={element} />;
}

export const made = createElement("message-feedback", {messageId: "m"});

// @ts-expect-error
export const badMetadata = <message-feedback metadata={3} />;
// @ts-expect-error
export const badCredentials = <message-feedback credentials="always" />;

export async function plain(response: Response): Promise<StandingVote | undefined> {
  const messageId = messageIdOf(response);
  if (!messageId) return undefined;
  const {status} = await sendFeedback({
    messageId, rating: 0, category: "c", message: null, metadata: {k: true}, rater: "r",
    baseUrl: "/llm/feedback", credentials: "include", csrfToken: "t",
  });
  // @ts-expect-error
  if (status === "refused") return undefined;
  await retractFeedback(messageId, {rater: "r"}).catch((error: FeedbackError) => {
    if (error.code === "unknown-message") return;
    // @ts-expect-error
    error.status.trim();
  });
  // @ts-expect-error
  await sendFeedback({messageId});
  const {feedback, rateable}: {rateable: string[], feedback: StandingVote[]} =
    await loadFeedback(new Set([messageId, 2]));
  return feedback.find(({message_id}) => rateable.includes(message_id));
}

defaults.baseUrl = "/llm/feedback";
Object.assign(texts, {up: "Gut"});
texts["store-unavailable"] = "Später.";
// @ts-expect-error
texts.upp = "Gut";

for (const place of [window, document, document.body]) {
  place.addEventListener("feedback-accepted", () => undefined);
}
addEventListener("feedback-accepted", ({detail}) => detail.receipt.revision);
addEventListener("feedback-refused", ({detail}) => detail.error.code);
// @ts-expect-error
addEventListener("feedback-refused", ({detail}) => detail.receipt);

const element = document.querySelector("message-feedback")!;
element.messageId = 4;
element.metadata = {k: "v"};
// @ts-expect-error
element.learn();
