/**
 * user-service: how a replica comes by a service that a user defined. Its module is loaded behind a guard that refuses what
 * differs between replicas; its definition becomes a service like any other.
 */
export { announceDefinition, suspendedInReplica } from "./announcement.js";
export { defineService } from "./define.js";
export {
  loadSimulatedService,
  type SimulatedCall,
  type SimulatedOperation,
  type SimulatedService,
  type Simulation,
} from "./simulated-service.js";
export {
  isServiceModule,
  loadServiceModule,
  loadSharedServiceModule,
  moduleOfDefinition,
  type ServiceObserver,
  serviceModuleOf,
} from "./service-module.js";
