// What is asked about the customer in the form: the score at once, everything else a moment after the last change.

import { useMemo, useState } from "../vendor/htm-preact.js";
import { send } from "../api.js";
import { toCustomer } from "../features.js";
import { makeLatest } from "../latest.js";

const PAUSE = 60;
const LONG_PAUSE = 200;
const NOTHING = { answer: undefined, error: undefined, isOld: false };

const QUESTIONS = {
  now: { ask: ({ customer, score }) => score || send("predict", customer), pause: 0 },
  why: { ask: ({ customer }) => send("predict?reasons=all", customer), pause: PAUSE },
  curve: {
    ask: ({ customer, along }) => (along ? send(`sensitivity?${new URLSearchParams({ fields: along })}`, customer) : undefined),
    pause: PAUSE,
    follows: "along",
  },
  changes: {
    ask: ({ customer, target }) => send(`counterfactuals${target ? `?${new URLSearchParams({ target })}` : ""}`, customer),
    pause: LONG_PAUSE,
    follows: "target",
    needs: ({ actionable }) => actionable,
  },
};

/**
 * Return the answers, and a function that asks about a customer.
 *
 * Each answer has the `error` in its place, if there is one, and `isOld` while a newer one is awaited. `ask` takes the
 * draft with the field of the curve and the target, its score if that was asked for already, and which of them have
 * changed. It may be called while drawing: what is returned changes only later, so that a keystroke does not draw again
 * what waits for an answer anyway.
 */
export function useAnswers(features, identifier, noteVersion) {
  const [answers, setAnswers] = useState(() => Object.fromEntries(Object.keys(QUESTIONS).map((name) => [name, NOTHING])));
  const ask = useMemo(() => {
    const schema = { actionable: features.some(({ actionable }) => actionable) };
    const put = (name, value) => setAnswers((all) => ({ ...all, [name]: { ...all[name], ...value } }));
    const channels = Object.entries(QUESTIONS).filter(([, { needs }]) => !needs || needs(schema)).map(([name, { ask: question, pause, follows }]) => {
      const pose = (given) => {
        if (pause) put(name, { isOld: true });
        return question(given);
      };
      const latest = makeLatest(pose, (answer, error, isOld) => {
        noteVersion(answer?.model_version);
        put(name, { answer, error, isOld });
      }, pause);
      return { latest, follows };
    });
    return ({ draft, along, target, score }, changed) => {
      const customer = toCustomer(features, draft, identifier);
      for (const { latest, follows } of channels) if (changed.draft || follows in changed) latest({ customer, along, target, score });
    };
  }, [features, identifier]);
  return { answers, ask };
}
