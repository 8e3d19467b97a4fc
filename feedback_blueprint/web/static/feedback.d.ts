/** Where and how a call goes. */
export interface Options {
  /**
   * The URL of the blueprint's `/feedback`; by default the content of
   * `<meta name="feedback-base-url">`, without that `defaults.baseUrl`.
   */
  baseUrl?: string;
  /** As `fetch` takes it, by default "same-origin"; "include" for cookies of another origin. */
  credentials?: RequestCredentials;
  /** Sent as X-CSRFToken; by default the content of `<meta name="csrf-token">`. */
  csrfToken?: string;
  /**
   * Who votes: `feedback.rater_tag`, even if it is empty. By default the content of
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
  /** Both are missing if there was no vote to retract. */
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

export type ProblemCode =
  | "malformed-json"
  | "unknown-message"
  | "method-not-allowed"
  | "other-rater"
  | "too-large"
  | "not-json"
  | "invalid"
  | "too-many-revisions"
  | "store-unavailable"
  | "agent-not-recording"
  | "unreachable";

/** The blueprint refused, or did not answer. `message` says why. Its `name` is "FeedbackError". */
export interface FeedbackError extends Error {
  /** 0 if no answer came. */
  status: number;
  /** That of the problem document, or "unreachable". A proxy may send others. */
  code?: ProblemCode | (string & {});
  /** For "invalid": what is wrong, by field. */
  errors?: Record<string, unknown>;
  response?: Response;
}

/**
 * Vote. The elements of the message show it at once. The browser keeps it, and sends it again until
 * the server has acknowledged or refused it, even on the next visit.
 *
 * Resolves when the server has acknowledged it, however long that takes. Rejects with a
 * `FeedbackError` if the server refused it. Also rejects with one if somebody other than the `rater`
 * is logged in, or if something other than the blueprint answered, such as a login page: then the
 * browser still keeps the vote. Rejects with an "AbortError" if a newer vote on the message replaced
 * it.
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

/** The message ID in a response of the app; the last one, if it has several. */
export function messageIdOf(response: Response): string | null;

/**
 * Defaults of the page, if neither an option nor a `<meta>` says otherwise. `baseUrl` is where the
 * module was loaded from. In a bundle it is "/feedback", and the bundle can set it.
 */
export const defaults: {baseUrl: string};

/** What the elements say. A text for the code of a problem replaces what the server says. */
export interface Texts extends Partial<Record<ProblemCode, string>> {
  rate: string;
  up: string;
  down: string;
  star: string;
  reason: string;
  comment: string;
  more: string;
  send: string;
  sending: string;
  accepted: string;
  commented: string;
  retracted: string;
  refused: string;
  waiting: string;
  kept: string;
  unreachable: string;
  expired: string;
  long: string;
  left: string;
  over: string;
  "agent-not-recording": string;
}

/** A module that imports this one can change them for the page, at its top level. */
export const texts: Texts;

/** `<message-feedback message-id="…">`: two thumbs or a row of stars, reasons and a comment. */
export class MessageFeedback extends HTMLElement {
  get messageId(): string | null;
  set messageId(id: string | number | null | undefined);
  /** Sent with each vote. */
  metadata?: Record<string, string | number | boolean>;
  /** Read the standing vote again. */
  refresh(): void;
}

/** `detail` of `feedback-accepted` and `feedback-refused`. A retraction has no `rating`. */
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
  interface WindowEventMap extends FeedbackEventMap {}
}

/** The attributes of the element, and what React and others set as properties. */
export interface MessageFeedbackAttributes {
  "message-id"?: string | number | null;
  messageId?: string | number | null;
  metadata?: Vote["metadata"];
  ratings?: string;
  categories?: string;
  [of: `categories-${string}`]: string | undefined;
  [text: `text-${string}`]: string | undefined;
  "no-comment"?: boolean;
  "csrf-token"?: string;
  rater?: string;
  "base-url"?: string;
  credentials?: RequestCredentials;
  "onfeedback-accepted"?: (event: FeedbackEventMap["feedback-accepted"]) => void;
  "onfeedback-refused"?: (event: FeedbackEventMap["feedback-refused"]) => void;
}

// React 19 has its JSX types in its own module, which not every project has.
// @ts-ignore
declare module "react" {
  namespace JSX {
    interface IntrinsicElements {
      // @ts-ignore
      "message-feedback": MessageFeedbackAttributes & DetailedHTMLProps<HTMLAttributes<MessageFeedback>, MessageFeedback>;
    }
  }
}
