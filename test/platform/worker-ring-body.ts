/** Two bodies that send records round through two rings. */
import { RingConsumer, RingProducer, StepOutcome, type ThreadBody, type ThreadContext } from "#src/platform/index.js";

interface Part {
  readonly role: "source" | "mirror";
  readonly from: SharedArrayBuffer;
  readonly to: SharedArrayBuffer;
  readonly records: number;
}

export function createThread(context: ThreadContext): ThreadBody {
  const { role, from, to, records } = context.data as Part;
  const consumer = new RingConsumer(from);
  const producer = new RingProducer(to);
  let sent = 0;
  let received = 0;
  let sum = 0;
  /** A number that came and has not gone on. */
  let held = -1;
  let waitPoint = consumer.waitPoint;

  function send(number: number): boolean {
    const at = producer.begin(4 + (number % 40));
    if (at < 0) return false;
    producer.view.setUint32(at, number, true);
    producer.end(4 + (number % 40));
    producer.publish();
    sent++;
    return true;
  }

  function receive(): boolean {
    if (!consumer.next()) return false;
    const number = consumer.view.getUint32(consumer.start, true);
    if (number !== received) throw new Error(`${number} came in place of ${received}`);
    received++;
    sum += number;
    consumer.release();
    if (role === "mirror") held = number;
    return true;
  }

  return {
    get waitPoint() {
      return waitPoint;
    },
    step() {
      if (role === "mirror") {
        if (held >= 0) {
          if (send(held)) held = -1;
          else if (producer.sleep()) {
            waitPoint = producer.waitPoint;
            return StepOutcome.wait;
          }
          return StepOutcome.more;
        }
        if (sent === records) return StepOutcome.done;
        if (receive()) return StepOutcome.more;
      } else {
        if (received === records) {
          context.post(sum);
          return StepOutcome.done;
        }
        const progress = sent < records && send(sent);
        if (receive() || progress) return StepOutcome.more;
      }
      if (!consumer.sleep()) return StepOutcome.more;
      waitPoint = consumer.waitPoint;
      return StepOutcome.wait;
    },
  };
}
