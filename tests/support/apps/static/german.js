import {texts} from "/llm/feedback/static/feedback.js";

Object.assign(texts, {up: "Gute Antwort", down: "Schlechte Antwort"});
