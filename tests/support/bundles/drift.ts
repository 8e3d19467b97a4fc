// What is declared is what there is: actual/ has the modules without their declarations.
import * as actual from "./actual/feedback.js";
import * as declared from "./declared/feedback.js";

type Same<One, Other> = [One, Other] extends [Other, One] ? true : false;
type Required<T> = {[K in keyof T]-?: {} extends Pick<T, K> ? never : K}[keyof T];
type Lifecycle = "connectedCallback" | "disconnectedCallback" | "attributeChangedCallback";
type Own<Element> = Exclude<keyof Element, keyof HTMLElement | Lifecycle>;

export const same: [
  Same<keyof typeof declared, keyof typeof actual>,
  Same<Required<declared.Texts>, keyof typeof actual.texts>,
  Same<keyof typeof declared.defaults, keyof typeof actual.defaults>,
  // "metadata" is put on the prototype, where TypeScript does not look.
  Same<Own<declared.MessageFeedback>, Own<actual.MessageFeedback> | "metadata">,
] = [true, true, true, true];
