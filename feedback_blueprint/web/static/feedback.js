// The entry point; feedback.d.ts documents what it exports.

export {defaults, loadFeedback, messageIdOf, retractFeedback, sendFeedback} from "./queue.js";
export {MessageFeedback, texts} from "./element.js";
