//! Everything that can happen to the console, as one type for one bounded channel; and what the console asks for in return.
//! State reacts to events and asks by effects; only the runner carries effects out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::app::PromptRequest;
use crate::collect::problems::Finding;
use crate::model::{
    Certificate, FleetView, LoadPicture, NodeName, NodeReading, PoolName, Problem, ServerRef, Session, StickTable,
    StickTableEntry, Worker,
};
use crate::ops::{Approval, Event as OpEvent, Plan, PlanError, Refusal, Request, SweepReport};
use crate::store::{Lease, Operation, Unfinished};

/// The clocks, read once for each event: state never reads a clock itself.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    pub now: Instant,
    pub wall: Timestamp,
}

#[derive(Debug)]
pub enum Event {
    Terminal(crossterm::event::Event),
    /// The keyboard has ended: nobody sits in front.
    TerminalGone,
    /// A new picture of the fleet.
    View(Arc<FleetView>),
    /// A new second of the load.
    Load(Arc<LoadPicture>),
    /// Time passes: ages grow, live lists are asked for again.
    Tick,
    Prompt(PromptRequest),
    Answer(Box<Answer>),
    /// What an operation of this console does, by the console's own number.
    Operation {
        run: u64,
        event: OpEvent,
    },
    /// Its channel has ended.
    OperationOver {
        run: u64,
    },
}

/// What a chart is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Charted {
    Server(ServerRef),
    Node(NodeName),
    Pool(PoolName),
    Fleet,
}

/// What came back of an effect. `ticket` says for which question, so that late answers to old questions fall away.
#[derive(Debug)]
pub enum Answer {
    Sessions {
        ticket: u64,
        node: NodeName,
        result: Result<Vec<Session>, Problem>,
    },
    Tables {
        ticket: u64,
        node: NodeName,
        result: Result<Vec<StickTable>, Problem>,
    },
    Entries {
        ticket: u64,
        node: NodeName,
        result: Result<Vec<StickTableEntry>, Problem>,
    },
    Workers {
        node: NodeName,
        result: Result<Vec<Worker>, Problem>,
    },
    Reading {
        node: NodeName,
        result: Box<Result<NodeReading, Problem>>,
    },
    Certificates {
        node: NodeName,
        result: Result<Vec<Certificate>, Problem>,
    },
    Leases(Vec<Lease>),
    Findings {
        findings: Vec<Finding>,
        took: Duration,
    },
    Swept(SweepReport),
    Audit(Result<Vec<Operation>, String>),
    Unfinished(Result<Vec<Unfinished>, String>),
    /// One result a request.
    Planned {
        ticket: u64,
        results: Vec<Result<Plan, PlanError>>,
    },
    /// The run ended before it began.
    Refused {
        run: u64,
        refusal: Refusal,
    },
}

/// A plan as it was shown, and what was confirmed of it.
#[derive(Debug)]
pub struct Confirmed {
    /// The console's number of the operation to be.
    pub run: u64,
    pub plan: Plan,
    pub approval: Approval,
}

/// What the runner is to do. None of it is waited for.
#[derive(Debug)]
pub enum Effect {
    Quit,
    /// Read these nodes now.
    Poke(Vec<NodeName>),
    Sessions {
        ticket: u64,
        nodes: Vec<NodeName>,
        of: Option<ServerRef>,
    },
    Tables {
        ticket: u64,
        nodes: Vec<NodeName>,
    },
    Entries {
        ticket: u64,
        node: NodeName,
        table: String,
    },
    /// Processes and certificates of a node.
    Details(NodeName),
    /// Samples on these nodes; a server's history is kept from now on.
    History {
        of: Charted,
        nodes: Vec<NodeName>,
    },
    Leases,
    /// What is wrong with the fleet: worked out beside the loop, because it looks at every server of every node.
    Findings,
    /// Give back leases that have ended: all, or only where looking costs next to nothing.
    Sweep {
        if_due: bool,
    },
    Audit,
    Unfinished,
    Plan {
        ticket: u64,
        requests: Vec<Request>,
    },
    /// Approve and apply exactly these plans, one after the other (they may need the same lock).
    Apply {
        plans: Vec<Confirmed>,
    },
    Stop {
        run: u64,
    },
}
