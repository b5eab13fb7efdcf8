//! Fetches a patient's key directory: the root, then all blocks that it links.

use emr_core::Cid;
use emr_crypto::{DirectoryError, DirectoryRoot, KeyDirectory, MAX_DIRECTORY_BYTES};

use crate::{client::Client, error::ClientError, node::parallel::Fetching};

impl Client {
    /// Fetches a key directory with all its blocks, of which each is compared with its address. The caller must know from the state that it is the
    /// patient's, and ask for this address: anyone can make a directory.
    ///
    /// # Errors
    /// [`ClientError::Node`] if a block cannot be fetched. [`ClientError::KeyDirectory`] if the blocks are not those of a key directory, or have
    /// more than 32 MiB together.
    pub async fn directory(&self, cid: &Cid) -> Result<KeyDirectory, ClientError> {
        let root = self.directory_root(cid).await?;
        let mut fetching = Fetching::from(&self.node, root.links().copied());
        let (mut blocks, mut size) = (Vec::new(), root.to_bytes().len());
        while let Some((_, bytes)) = fetching.next().await? {
            size += bytes.len();
            if size > MAX_DIRECTORY_BYTES {
                return Err(DirectoryError::TooLarge.into());
            }
            blocks.push(bytes);
        }
        Ok(KeyDirectory::assemble(root, blocks)?)
    }

    /// Fetches the root of a key directory. Writers need no more of it.
    ///
    /// # Errors
    /// As for [`Self::directory`].
    pub(crate) async fn directory_root(&self, cid: &Cid) -> Result<DirectoryRoot, ClientError> {
        Ok(DirectoryRoot::from_bytes(&self.node.block(cid).await?)?)
    }
}
