/** Where and how a call goes. */
export interface Options {
  /** The URL of the blueprint's `/feedback`; by default beside this module. */
  baseUrl?: string;
  /** As `fetch` takes it, by default "same-origin"; "include" for cookies of another origin. */
  credentials?: RequestCredentials;
  /** Sent as X-CSRFToken; by default the content of `<meta name="csrf-token">`. */
  csrfToken?: string;
  /**
   * Who votes: `feedback.rater_tag`, also if it is empty. By default the content of
   * `<meta name="feedback-rater">`; without that, whoever is logged in when the vote arrives.
   */
  rater?: string;
}

/** What a vote says. */
export interface Vote {
  rating: string | number;
  category?: string | null;
  /** The comment, at most 4,095 bytes. */
  message?: string | null;
  metadata?: Record<string, string | number | boolean>;
}

/** What became of a vote. */
export interface Receipt {
  message_id: string;
  /** Both are missing where there was nothing to retract. */
  feedback_id?: string;
  revision?: number;
  status: "accepted" | "unchanged" | "retracted";
}

/** The caller's standing vote on one message. */
export interface StandingVote {
  message_id: string;
  feedback_id: string;
  revision: number;
  rating: string | number;
  category: string | null;
  message: string | null;
}

/** A refusal, or no answer of ours; `message` says why, in words. Its `name` is "FeedbackError". */
export interface FeedbackError extends Error {
  /** 0 where no answer came at all. */
  status: number;
  /** Of the problem document: "unknown-message", "invalid", …; or "unreachable". */
  code?: string;
  /** For "invalid": what is wrong, by field. */
  errors?: Record<string, unknown>;
  response?: Response;
}

/**
 * Vote. The elements of the message show it at once. It is kept, and sent again while the server is
 * unavailable, also on the next visit.
 *
 * Resolves when it was acknowledged, however long that takes. Rejects with a `FeedbackError` when
 * it was refused; when another than the `rater` is logged in, or something else than the blueprint
 * answered, such as a login page, and then it is still kept; with an "AbortError" when a newer vote
 * on the message took its place.
 */
export function sendFeedback(
  vote: Vote & {messageId: string | number} & Options,
): Promise<Receipt>;

/** Take the vote on a message back, as reliably as it was sent. */
export function retractFeedback(messageId: string | number, options?: Options): Promise<Receipt>;

/** Read the caller's standing votes, and which of the messages the caller can rate. */
export function loadFeedback(
  messageIds: Iterable<string | number>,
  options?: Options,
): Promise<{feedback: StandingVote[]; rateable: string[]}>;

/** The ID of the message in an answer of the app; of several, the last. */
export function messageIdOf(response: Response): string | null;

/**
 * What the elements say. A module that imports this one can change it for the page, at its top
 * level; load this one by that import alone then, as another URL would be another module.
 */
export const texts: Record<
  | "rate"
  | "up"
  | "down"
  | "star"
  | "reason"
  | "comment"
  | "send"
  | "sending"
  | "accepted"
  | "retracted"
  | "refused"
  | "waiting"
  | "kept"
  | "unreachable"
  | "expired"
  | "long",
  string
>;

/** `<message-feedback message-id="…">`: two thumbs or a row of stars, reasons and a comment. */
export class MessageFeedback extends HTMLElement {
  readonly messageId: string | null;
  /** Goes along with each vote. */
  metadata?: Record<string, string | number | boolean>;
  /** Read the standing vote again. */
  refresh(): void;
}

/** `detail` of `feedback-accepted` and `feedback-refused`; without `rating`, of a retraction. */
export interface FeedbackDetail extends Partial<Vote> {
  messageId: string;
}

export interface FeedbackEventMap {
  "feedback-accepted": CustomEvent<FeedbackDetail & {receipt: Receipt; response: Response}>;
  "feedback-refused": CustomEvent<FeedbackDetail & {error: FeedbackError}>;
}

declare global {
  interface HTMLElementTagNameMap {
    "message-feedback": MessageFeedback;
  }
  interface HTMLElementEventMap extends FeedbackEventMap {}
  interface DocumentEventMap extends FeedbackEventMap {}
}
