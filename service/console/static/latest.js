// Questions that are asked again and again while somebody types: one at a time, and the last one always wins.

/**
 * Return a function that asks with the newest arguments. While an answer is awaited, only the newest further question is
 * kept, and asked next: answers therefore arrive in the order of their questions, and none is older than one shown.
 *
 * @param {function} question  Called with the arguments; returns a promise.
 * @param {function} onAnswer  Called with the answer, or undefined and the error, and whether a newer question waits.
 * @param {number} delay  Milliseconds to wait after the last call before asking.
 */
export function makeLatest(question, onAnswer, delay = 0) {
  let waiting = null;
  let isAsking = false;
  let timer = 0;

  async function run() {
    if (isAsking || !waiting) return;
    const given = waiting;
    waiting = null;
    isAsking = true;
    let answer, error;
    try {
      answer = await question(...given);
    } catch (failure) {
      error = failure;
    }
    isAsking = false;
    onAnswer(answer, error, waiting !== null);
    if (!timer) run();
  }

  return (...given) => {
    waiting = given;
    if (!delay) return void run();
    clearTimeout(timer);
    timer = setTimeout(() => {
      timer = 0;
      run();
    }, delay);
  };
}
