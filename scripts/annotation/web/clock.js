// The clock that counts the seconds of work. Pure: no page.

const IDLE_S = 60;
const SLEEP_S = 20; // `beat` is called each second; a busy page may be late, but not by so much

/**
 * Counts the time in which somebody works: not while the page is hidden, at most a minute after the last input, and not
 * while the computer sleeps. `now` only ever goes forward, whatever is done to the clock of the computer.
 */
class Clock {
  constructor(isRunning, now = () => performance.now() / 1000) {
    this.now = now;
    this.last = this.beaten = now();
    this.isRunning = isRunning;
    this.owed = 0; // counted, but not told yet
  }

  /** To be called each second: when the last call is much longer ago, the computer has slept since then. */
  beat() {
    const now = this.now();
    if (now - this.beaten > SLEEP_S) {
      this.owed += this.#passed(this.beaten);
      this.last = now;
    }
    this.beaten = now;
  }

  /** Seconds worked since the last call, which is made at each input. */
  tick() {
    this.beat();
    const now = this.now(), passed = this.owed + this.#passed(now);
    this.last = now;
    this.owed = 0;
    return passed;
  }

  /** Start or stop; returns the seconds worked until now. */
  run(isRunning) {
    const passed = this.tick();
    this.isRunning = isRunning;
    return passed;
  }

  #passed(until) {
    return this.isRunning ? Math.min(IDLE_S, Math.max(0, until - this.last)) : 0;
  }
}
