/** The Redis protocol over groups: what holds for any number of them. */
import { describe } from "node:test";
import { respOrderSuite } from "./resp-order.suite.js";
import { respReplySuite } from "./resp-replies.suite.js";
import { respTransactionSuite } from "./resp-transactions.suite.js";

for (const groups of [2, 3]) {
  describe(`with ${groups} groups`, () => {
    respOrderSuite(groups, 100);
    respReplySuite(groups);
    respTransactionSuite(groups);
  });
}
