export { connect } from './client.ts';
export type { ConnectOptions, ControlClient, StreamOptions } from './client.ts';
export { exitCodeOf, notRunning } from './errors.ts';
export { resolveDataDir } from '../control-paths.ts';
export type {
  ActRequest,
  ActVerb,
  CommandOutcome,
  DaemonStatus,
  DrillVerb,
  ErrorBody,
  EventVerb,
  GraphPicture,
  GraphReport,
  HealthReport,
  Hello,
  HistoryEntry,
  HistoryQuery,
  LogLevel,
  LogsQuery,
  PlanVerb,
  ReadyReport,
  StatusReport,
  WaitReport,
  WhyAnswer,
} from '../server/protocol.ts';
