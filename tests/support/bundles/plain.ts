// Without React, its types are missing, and nothing complains.
import {sendFeedback} from "./declared/feedback.js";

void sendFeedback({messageId: "m", rating: "good"});
document.createElement("message-feedback").refresh();
