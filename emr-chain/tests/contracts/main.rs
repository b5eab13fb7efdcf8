//! Tests of the contracts on a real EVM: the embedded chain and, if they are installed, anvil and geth. One module per transition.
#![expect(unreachable_pub, reason = "nothing is outside of a test binary")]

mod access;
mod admission;
mod changes;
mod deployment;
mod finality;
mod gas;
mod governance;
mod queue;
mod reading;
mod reference;
mod register;
mod relay;
mod settle;
mod sizes;
mod urgent;
mod world;

/// Runs each test on the embedded chain and on anvil.
macro_rules! on_each_chain {
    ($($test:ident),+ $(,)?) => {$(
        mod $test {
            use crate::world::World;
            use emr_testkit::{Outcome, chain::Node};

            #[tokio::test]
            async fn embedded() -> Outcome {
                super::$test(World::new(Node::embedded()?).await?).await
            }

            #[tokio::test]
            async fn anvil() -> Outcome {
                match Node::anvil()? {
                    Some(node) => super::$test(World::new(node).await?).await,
                    None => Ok(()),
                }
            }
        }
    )+};
}
use on_each_chain;

/// Runs each test on geth too. It cannot move geth's clock.
macro_rules! on_geth {
    ($($test:ident),+ $(,)?) => {
        mod on_geth {
            use crate::world::World;
            use emr_testkit::{Outcome, chain::Node};

            $(
                #[tokio::test]
                async fn $test() -> Outcome {
                    match Node::geth(&[])? {
                        Some(node) => super::$test(World::new(node).await?).await,
                        None => Ok(()),
                    }
                }
            )+
        }
    };
}
use on_geth;
