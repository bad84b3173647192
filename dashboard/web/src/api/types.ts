// The shapes of the REST API, by the names that the page uses. They are made from `dashboard/openapi.json`, so that the
// page does not compile against an API that moved: `npm run types`.

import type { components } from './schema';

type Schemas = components['schemas'];

export type Role = Schemas['Role'];
export type Permission = Schemas['Permission'];
export type Program = Schemas['Program'];
export type MinerState = Schemas['MinerState'];
export type Scope = Schemas['Scope'];

export type NodeInfo = Schemas['NodeInfo'];
export type PeerView = Schemas['PeerView'];
export type PeerChange = Schemas['PeerChange'];
export type PendingView = Schemas['PendingView'];
export type AddPeer = Schemas['AddPeer'];
export type Added = Schemas['Added'];
export type Pinged = Schemas['Pinged'];

export type MinerStatus = Schemas['MinerStatus'];
export type RigView = Schemas['RigView'];
export type MinerOutcome = Schemas['MinerOutcome'];
export type DeployOutcome = Schemas['DeployOutcome'];
export type RigProfile = Schemas['RigProfile'];
export type LogPage = Schemas['LogPage'];
export type History = Schemas['History'];
export type HistorySeries = Schemas['HistorySeries'];

/** One command to many rigs; `JobChange` is what the event `job` tells. */
export type Job = Schemas['JobView'];
export type JobSummary = Schemas['JobSummary'];
export type JobChange = Schemas['JobChange'];

export type Pool = Schemas['Pool'];
export type Profile = Schemas['Profile'];

export type Activity = Schemas['Activity'];
export type Session = Schemas['Session'];
export type Access = Schemas['AccessView'];
/** The token itself is there only in the answer that made it. */
export type Token = Schemas['TokenView'] & { token?: string };

/** A pairing request as the stream tells it. */
export type Pending = Schemas['Pending'];

export type Problem = Schemas['ProblemDetails'];
