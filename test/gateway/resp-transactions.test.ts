import { respTransactionSuite } from "./resp-transactions.suite.js";

respTransactionSuite(1);
