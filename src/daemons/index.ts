/** Every daemon that is built, in the order in which the fleet lists them. A daemon that is not here cannot be used. */
import type { DaemonDefinition } from './definition.ts';
import { dataServer } from './distribution/data-server.ts';
import { modelDistribution } from './distribution/model-distribution.ts';
import { evaluation } from './evaluation/evaluation.ts';
import { crossProcessPoller } from './event/cross-process-poller.ts';
import { dlqRetry } from './event/dlq-retry.ts';
import { eventRouter } from './event/event-router.ts';
import { feedbackLoop } from './feedback/feedback-loop.ts';
import { clusterMonitor } from './health/cluster-monitor.ts';
import { daemonWatchdog } from './health/daemon-watchdog.ts';
import { healthServer } from './health/health-server.ts';
import { qualityMonitor } from './health/quality-monitor.ts';
import { autoExport } from './pipeline/auto-export.ts';
import { dataPipeline } from './pipeline/data-pipeline.ts';
import { selfplayCoordinator } from './pipeline/selfplay-coordinator.ts';
import { trainingTrigger } from './pipeline/training-trigger.ts';
import { autoPromotion } from './promotion/auto-promotion.ts';
import { unifiedPromotion } from './promotion/unified-promotion.ts';
import { jobScheduler } from './queue/job-scheduler.ts';
import { queuePopulator } from './queue/queue-populator.ts';
import { availabilityCapacityPlanner } from './resource/availability-capacity-planner.ts';
import { availabilityProvisioner } from './resource/availability-provisioner.ts';
import { idleResource } from './resource/idle-resource.ts';
import { idleShutdown } from './resource/idle-shutdown.ts';
import { autoSync } from './sync/auto-sync.ts';
import { eloSync } from './sync/elo-sync.ts';
import { continuousTrainingLoop } from './training/continuous-training-loop.ts';

/** Those that work on the training floor. */
export const TRAINING_DAEMONS: readonly DaemonDefinition[] = [
  dataPipeline,
  autoSync,
  feedbackLoop,
  selfplayCoordinator,
  queuePopulator,
  jobScheduler,
  clusterMonitor,
  idleResource,
  availabilityCapacityPlanner,
  availabilityProvisioner,
  autoExport,
  trainingTrigger,
  continuousTrainingLoop,
  evaluation,
  autoPromotion,
  unifiedPromotion,
  modelDistribution,
  eloSync,
  qualityMonitor,
  idleShutdown,
  dataServer,
];

export const RINGRIFT_DAEMONS: readonly DaemonDefinition[] = [
  eventRouter,
  daemonWatchdog,
  healthServer,
  crossProcessPoller,
  dlqRetry,
  ...TRAINING_DAEMONS,
];
