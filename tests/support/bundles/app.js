// A page in React, as an app bundles it: it sets where the blueprint is, and a text.
import {createElement, useState} from "react";
import {createRoot} from "react-dom/client";
import {defaults, sendFeedback, texts} from "feedback-blueprint";

defaults.baseUrl = "/llm/feedback";
texts.up = "Bundled";

function Replies({ids}) {
  const [id, setId] = useState(ids[0]);
  window.show = setId;
  return createElement("message-feedback", {messageId: id, metadata: {bundled: true}});
}

window.sendFeedback = sendFeedback;
const ids = new URLSearchParams(location.search).get("ids").split(",");
createRoot(document.querySelector("main")).render(createElement(Replies, {ids}));
